"""Reading a cfg and its weights into a network: the loop over sections."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial as bind
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, SecateurError, UnsupportedError, Where, located
from ...core.ir.builder import Builder
from ...core.ir.heads import Head
from ...core.ir.network import BlobRef, Caution, LayerInfo, Network
from ...core.packed import plain_path, read_file
from ..adapter import blob_shapes
from ..impostors import refuse_impostor
from ..registry import HEAD_BYTES
from .activations import ALEXEYAB_ONLY
from .companions import with_companions
from .data.evaluation import as_evaluated
from .document import Block, Document, parse
from .flavour import Flavour, FlavourMismatch
from .pruning_section import SECTION
from .section import (  # fmt: skip
    SECTIONS,
    Context,
    Section,
    SectionBuilder,
    Size,
    read_section,
    size_of,
    unread_keys,
)
from .sections.net import MOST_VALUES, Net
from .source import DarknetSource, Record
from .weights import Blank, Stream, WrongCount, unseen

__all__ = ["load", "load_text"]

AUTO = "auto"
READ_AS = "read as a network for pjreddie's Darknet"
MOST_BYTES = 1 << 26
"""Largest size of a cfg. The largest published ones have about 100 kB."""
MOST_SECTIONS = 20_000
"""Largest number of sections. The deepest published networks have a few hundred."""


def load(
    cfg: Path,
    weights: Path,
    *,
    flavour: str = AUTO,
    partial: bool = False,
    reset_seen: bool = False,
    companions: Sequence[Path] = (),
    training: bool = False,
) -> Network:
    """Read a Darknet network.

    Args:
        cfg: the description of the network.
        weights: the weights file.
        flavour: the Darknet that the network is for: "alexeyab", "pjreddie" or "auto". The two
            differ in the epsilon of batch normalisation, in [region] and [batchnorm], and in
            shortcuts between maps of different sizes. "auto" reads the network as AlexeyAB's,
            unless the cfg has sections or keys that only pjreddie's knows, or the size of the
            weights file fits pjreddie's only. If both Darknets can run the cfg, "auto" takes
            pjreddie's epsilon: OpenCV's results are closest to it.
        partial: accept weights that end between two sections; missing values are zero.
        reset_seen: write 0 as the number of images seen in training, for fine-tuning.
        companions: further cfgs of the same sections.
        training: keep dropouts in the graph. Without it being trained, it computes the same.

    Returns:
        the network. Its input is `data`. It has an output `layer_<index>` for every detection
        head, for the last layer that is no [cost], and for every layer that no other layer reads.

    Raises:
        FormatError: a file is broken, or the two files do not fit together.
        UnsupportedError: a section or key is not supported.
    """
    network = _load(Path(cfg), Path(weights), flavour, partial=partial, training=training)
    if reset_seen:
        assert isinstance(network.source, DarknetSource)
        source = replace(network.source, header=unseen(network.source.header))
        network = replace(network, source=source)
    return with_companions(network, companions, _document)


def load_text(cfg: Path, *, flavour: str = AUTO) -> Network:
    """Read the description of a network alone; all its parameters are zero.

    Args:
        cfg: the description.
        flavour: as for :func:`load`.

    Raises:
        FormatError: the cfg is broken.
        UnsupportedError: a section or key is not supported.
    """
    return _load(Path(cfg), None, flavour, partial=False, training=False)


def _load(
    cfg: Path, weights: Path | None, flavour: str, *, partial: bool, training: bool
) -> Network:
    document = _document(cfg)
    with located(file=str(cfg)):
        if not document.sections or document.sections[0].name not in ("net", "network"):
            names = [block.name for block in document.sections]
            raise FormatError(
                "the first section must be [net]",
                hint="this is a main cfg of vai_p_darknet: `secateur pruner` takes it"
                if SECTION in names
                else None,
            )
        if len(document.sections) > MOST_SECTIONS:
            raise UnsupportedError(f"{len(document.sections)} sections are more than a network has")
    wanted = _flavour(flavour, document)
    folders = (cfg.parent, cfg.parent.parent)
    reading = bind(
        _Reading, document, cfg, weights, partial=partial, folders=folders, training=training
    )
    try:
        if flavour == AUTO and wanted is Flavour.ALEXEYAB:
            common = reading(flavour=wanted, common=True)
            network = common.run()
            if common.agreed:
                return network
        return _assumed(reading(flavour=wanted).run(), flavour)
    except (FlavourMismatch, WrongCount):
        if flavour != AUTO or wanted is Flavour.PJREDDIE:
            raise
        try:
            return _assumed(reading(flavour=Flavour.PJREDDIE).run(), flavour)
        except SecateurError:
            pass
        raise


def _assumed(network: Network, flavour: str) -> Network:
    """Turn the note about the flavour into a caution if the user did not choose the flavour."""
    if flavour != AUTO:
        return network
    notes = (Caution(note) if note == READ_AS else note for note in network.notes)
    return replace(network, notes=tuple(notes))


def _document(path: Path) -> Document:
    with located(file=str(path)):
        return parse(_read(path), str(path))


def _read(path: Path) -> bytes:
    data = read_file(path, MOST_BYTES)
    refuse_impostor(data[:HEAD_BYTES], ".cfg")
    return data


def _flavour(name: str, document: Document) -> Flavour:
    """Return the flavour of a name. "auto" is pjreddie's if only that Darknet can run the cfg.

    That is the case if some sections or keys exist only in pjreddie's, and none only in AlexeyAB's.

    Raises:
        UnsupportedError: there is no such flavour.
    """
    names = [flavour.value for flavour in Flavour]
    if name != AUTO:
        if name not in names:
            raise UnsupportedError(f"the flavour is {AUTO} or {' or '.join(names)}, not {name!r}")
        return Flavour(name)
    found = set()
    for block in document.sections:
        cls = SECTIONS.get(block.name)
        if cls is None:
            continue
        found |= {owner for key, owner in cls.only.items() if key == "" or key in block.options}
        activation = block.options.get("activation")
        if activation is not None and activation.value in ALEXEYAB_ONLY:
            found.add(Flavour.ALEXEYAB)
    return Flavour.PJREDDIE if found == {Flavour.PJREDDIE} else Flavour.ALEXEYAB


class _Layer(NamedTuple):
    """A layer while the network is being read."""

    record: Record
    value: ir.Value
    inputs: tuple[int, ...]


class _Reading:
    """One pass over a cfg and its weights, for one flavour.

    Args:
        document: the cfg.
        cfg: path of the cfg.
        weights: path of the weights; None to read the cfg alone.
        flavour: the Darknet that the network is for.
        partial: whether the weights may end between two sections.
        folders: folders with the files that the cfg names.
        common: see :attr:`Context.common`.
        training: see :attr:`Context.training`.
    """

    def __init__(
        self, document: Document, cfg: Path, weights: Path | None, *, flavour: Flavour,
        partial: bool,
        folders: tuple[Path, ...], common: bool = False, training: bool = False,
    ):  # fmt: skip
        self.document = document
        self.cfg = cfg
        self.weights = weights
        self.flavour = flavour
        self.partial = partial
        self.folders = folders
        self.common = common
        self.training = training
        self.stream = self._stream()
        self.builder = Builder(plain_path(cfg).stem)
        self.shared: dict[tuple[BlobRef, ...], ir.Value] = {}
        self.blobs: dict[BlobRef, np.ndarray] = {}
        self.layers: list[_Layer] = []
        self.notes: defaultdict[str, list[int]] = defaultdict(list)
        self.unread: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def _stream(self) -> Stream:
        if self.weights is None:
            return Blank()
        with located(file=str(self.weights)):
            return Stream(self.weights, self.flavour, partial=self.partial)

    @property
    def agreed(self) -> bool:
        """Whether both Darknets compute the same from these files, apart from the epsilon."""
        return (
            not self.stream.header.transposed
            and b"\r" not in bytes(self.document)
            and all(layer.record.section.agreed() for layer in self.layers)
            and ALEXEYAB_ONLY.isdisjoint(
                getattr(layer.record.section, "activation", "") for layer in self.layers
            )
        )

    def run(self) -> Network:
        """Read all sections and return the network.

        Raises:
            FormatError: the files are broken, or do not fit together.
            UnsupportedError: a section or key is not supported.
        """
        first, *blocks = self.document.sections
        with located(file=str(self.cfg), line=first.line, item=f"[{first.name}]"):
            net = read_section(Net, first, Context(flavour=self.flavour))
            assert isinstance(net, Net)
            self.data = self.builder.input("data", net.shape)
            self._watch(Net, first)
            if not blocks:
                raise FormatError("the network has no layers")
        self.context = Context(
            flavour=self.flavour,
            transposed=self.stream.header.transposed,
            folders=self.folders,
            width=net.width,
            height=net.height,
            common=self.common,
            training=self.training,
        )
        for index, block in enumerate(blocks):
            with located(file=str(self.cfg), line=block.line, item=_item(index, block)):
                self._layer(index, block)
        with located(file=str(self.weights or self.cfg)):
            self.stream.finish()
        return self._close(net, blocks)

    def _layer(self, index: int, block: Block) -> None:
        """Read one section, take its blobs, and emit its nodes."""
        cls = SECTIONS.find(block.name)
        owner = cls.only.get("", self.flavour)
        if owner is not self.flavour:
            raise FlavourMismatch(f"only the Darknet of {owner.value} knows [{block.name}]")
        section = read_section(cls, block, replace(self.context, index=index))
        self._watch(cls, block)
        inputs = section.inputs()
        values = [self.layers[k].value if k >= 0 else self.data for k in inputs]
        self.builder.layer, self.builder.scope = index, f"layer_{index}"
        record, blobs = self._take(section, _item(index, block), values)
        b = SectionBuilder(
            self.builder, blobs, record.refs, self.shared, data=self.data,
            note=lambda text: self.notes[text].append(index),
            context=section.context,
        )  # fmt: skip
        value = section.to_ir(b, *values)
        if prod(b.dims(value)) > MOST_VALUES:
            raise FormatError("more outputs than Darknet can count")
        if section.in_place and value is not values[0]:
            self.layers = [
                layer._replace(value=value) if layer.value is values[0] else layer
                for layer in self.layers
            ]
        self.layers.append(_Layer(record, value, inputs))

    def _take(
        self, section: Section, item: str, values: Iterable[ir.Value]
    ) -> tuple[Record, Mapping[str, np.ndarray]]:
        """Return a section's record and blobs: from the file, or from the layer it shares with."""
        inputs = [size_of(value) for value in values]
        sizes = section.sizes(*inputs)
        owner = section.shares()
        if owner is not None:
            return self._share(section, item, owner, inputs)
        if not section.blobs:
            return Record(section=section, item=item), {}
        shapes = blob_shapes(section.blobs, section, sizes)
        before = self.stream.taken
        with located(file=str(self.weights or self.cfg), item=item):
            arrays = self.stream.take(item, shapes)
        refs = {name: (BlobRef(section.context.index, k, name),) for k, name in enumerate(shapes)}
        self.blobs.update((refs[name][0], array) for name, array in arrays.items())
        stored = arrays if self.stream.taken > before else {}
        return Record(section=section, item=item, refs=refs, stored=stored), arrays

    def _share(
        self, section: Section, item: str, owner: int, inputs: Iterable[Size]
    ) -> tuple[Record, Mapping[str, np.ndarray]]:
        """Return the record and the blobs of a section that uses those of the layer `owner`."""
        record = self.layers[owner].record
        blobs = {name: self.blobs[ref] for name, (ref,) in record.refs.items()}
        section.check_shared(
            record.section, {name: array.shape for name, array in blobs.items()}, *inputs
        )
        return Record(section=section, item=item, refs=record.refs), blobs

    def _watch(self, cls: type[Section], block: Block) -> None:
        """Note the keys of a section that are not read."""
        self.unread[block.name].update(dict.fromkeys(unread_keys(cls, block, self.flavour)))

    def _close(self, net: Net, blocks: Sequence[Block]) -> Network:
        """Name the outputs and return the network.

        Raises:
            FormatError: there is no output.
        """
        outputs, heads = self._outputs()
        self.builder.layer, self.builder.scope = None, "outputs"
        stated = replace(net.preprocess, origin=str(self.cfg))
        model = self.builder.finish(outputs)
        return Network(
            name=plain_path(self.cfg).stem,
            model=model,
            layers=self._infos(blocks),
            source=self._source(model),
            preprocess=as_evaluated(stated, net.shape, heads=heads, flavour=self.flavour),
            heads=tuple(heads),
            notes=tuple(self._all_notes()),
        )

    def _outputs(self) -> tuple[dict[str, ir.Value], list[Head]]:
        """Return the outputs by name, and the detection heads among them.

        Raises:
            FormatError: all layers are [cost].
        """
        read = {k for layer in self.layers if not layer.record.section.loss for k in layer.inputs}
        kept = [k for k, layer in enumerate(self.layers) if not layer.record.section.loss]
        if not kept:
            raise FormatError(
                "the network has no layers but [cost]", where=Where(file=str(self.cfg))
            )
        outputs: dict[str, ir.Value] = {}
        heads: list[Head] = []
        for index in kept:
            name = f"layer_{index}"
            layer = self.layers[index]
            head = layer.record.section.head(name)
            if head is not None:
                heads.append(head)
            if head is not None or index not in read or index == kept[-1]:
                outputs[name] = layer.value
        return outputs, heads

    def _infos(self, blocks: Sequence[Block]) -> tuple[LayerInfo, ...]:
        """Return the layers as users know them."""
        return tuple(
            LayerInfo(
                name=str(index),
                type=block.name,
                bottoms=tuple(
                    str((self.layers[k].value if k >= 0 else self.data).name) for k in layer.inputs
                ),
                tops=(str(layer.value.name),),
                line=block.line,
                stored=sum(array.size for array in layer.record.stored.values()),
            )
            for index, (block, layer) in enumerate(zip(blocks, self.layers, strict=True))
        )

    def _source(self, model: ir.Model) -> DarknetSource:
        """Return the source that writes the network back."""
        return DarknetSource(
            paths={
                ".cfg": self.cfg,
                **({} if self.weights is None else {".weights": self.weights}),
            },
            document=self.document,
            header=self.stream.header.data,
            records=[layer.record for layer in self.layers],
            model=model,
            read_again=bind(
                _reread,
                flavour=self.flavour,
                partial=self.partial,
                folders=self.folders,
                common=self.common,
                training=self.training,
            ),
            training=self.training,
        )

    def _all_notes(self) -> Iterator[str]:
        """Yield the notes of the whole network."""
        if self.flavour is Flavour.PJREDDIE:
            yield READ_AS
        for text, layers in self.notes.items():
            shown = f"{text} (layer{'s' * (len(layers) > 1)} {_some(layers)})"
            yield Caution(shown) if isinstance(text, Caution) else shown
        for name, keys in self.unread.items():
            if keys:
                yield f"[{name}]: keys that change nothing: {_some(keys)}"
        with located(file=str(self.weights or self.cfg)):
            bad = self.stream.has_bad_values()
        if bad:
            yield Caution("the weights hold NaN or infinite values")
        if self.partial and any(
            layer.record.refs and not layer.record.stored and layer.record.section.shares() is None
            for layer in self.layers
        ):
            yield f"the weights end after {self.stream.last}; the rest is zero"


def _reread(
    cfg: Path, weights: Path, companions: Sequence[Path], *, flavour: Flavour, partial: bool,
    folders: tuple[Path, ...], common: bool, training: bool,
) -> Network:  # fmt: skip
    """Read written files; files that the cfg names are looked for beside the original as well."""
    network = _Reading(
        _document(cfg),
        cfg,
        weights,
        flavour=flavour,
        partial=partial,
        folders=(cfg.parent, *folders),
        common=common,
        training=training,
    ).run()
    return with_companions(network, companions, _document)


def _item(index: int, block: Block) -> str:
    return f"layer {index} [{block.name[:80]}]"


def _some(things: Collection[object], most: int = 8) -> str:
    """Return the first `most` things as text, and the number of the others."""
    shown = ", ".join(str(thing)[:40] for thing in itertools.islice(things, most))
    return shown if len(things) <= most else f"{shown} and {len(things) - most} more"
