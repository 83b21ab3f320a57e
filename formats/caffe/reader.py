"""Reading a prototxt and a caffemodel into a network: the loop over layers.

Source: net.cpp `Init`, `AppendBottom`, `AppendTop`, `AppendParam`, `CopyTrainedLayersFrom`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, SecateurError, UnsupportedError, located
from ...core.ir.builder import Builder
from ...core.ir.dims import smaller_batches
from ...core.ir.footprint import LARGEST_VALUE, largest_bytes
from ...core.ir.network import BlobRef, Caution, LayerInfo, Network, Preprocess, blob_refs
from ...core.ir.regions import region_inputs
from ...core.packed import plain_path
from ..adapter import StaticBatchNeeded
from .borders import Needs, Seams, find_needs
from .caffemodel import Caffemodel, open_caffemodel
from .companions import read_companions
from .fields import check_schema, unread_fields
from .layer import LAYERS, CaffeBuilder, Layer, Settings, Unknown, number
from .layer_reader import read_layer, unused_types
from .layers.border import Border
from .layers.data import with_images
from .matching import TOGETHER, check_links, definitions, fit, match, twins, weights_elsewhere
from .part import Options, Part, part_of
from .source import CaffeSource, SourceLayer
from .upgrade import LayerText

__all__ = ["load", "read_part"]

LARGEST_UNTRAINED = 2**28
"""Largest number of values of a parameter that is still to be trained: a number in a text file
must not demand any amount of memory. The largest layer of VGG16 has 2**27."""

_Link = tuple[Sequence[ir.Value | None], Sequence[ir.Value | None], int]
"""Bottoms and tops of a layer, and how many numbers it stores."""

Wires = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the values that a layer reads and makes; "" for what a data layer makes."""


def load(
    prototxt: Path,
    caffemodel: Path,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch_norm: str = "auto",
    opaque: Sequence[str] = (),
    companions: Sequence[Path] = (),
    training: bool = False,
    image: tuple[int, ...] = (),
) -> Network:
    """Read a Caffe network.

    Args:
        prototxt: the net, of any version (V0, V1, current), deploy or train_val.
        caffemodel: the weights, of any version.
        phase: "TEST" or "TRAIN"; it selects the layers.
        stages: stages of the net's state, in addition to those in the file's own `state`.
        level: level of the net's state.
        input_shapes: blob name → (C, H, W) for data layers and borders whose shape the file does
            not state.
        batch_norm: which statistics BatchNorm layers with `use_global_stats: false` take in
            testing: "stored", "batch", or "auto" for what the file gives reason to think.
        opaque: layer types that become borders: what they read becomes outputs, what they make
            inputs.
        companions: further prototxts of the same weights, read in each of their phases.
        training: keep what only training needs in the graph: dropouts, and the statistics of
            batch normalisations that the file bids to take those of the batch.
        image: (C, H, W) of data layers whose shape neither the file nor `input_shapes` states.

    Raises:
        FormatError: a file is broken, or the files do not fit together; names the place.
        UnsupportedError: the net has a layer or a setting that is not supported.
    """
    options = Options(
        phase=phase, stages=tuple(stages), level=level, input_shapes=dict(input_shapes or {}),
        batch_norm=batch_norm, opaque=tuple(opaque), training=training,
    )  # fmt: skip
    files = [(path, path.parent) for path in companions]
    return _load(prototxt, caffemodel, files, options=options, folder=prototxt.parent, image=image)


def _load(
    prototxt: Path,
    caffemodel: Path,
    companions: Sequence[tuple[Path, Path]] = (),
    *,
    options: Options,
    folder: Path,
    image: tuple[int, ...] = (),
) -> Network:
    """Read a net with its companions.

    Args:
        prototxt: the net.
        caffemodel: the weights.
        companions: further prototxts, each with the folder of the files that it names.
        options: the settings of the reading.
        folder: the folder of the files that the net names.
        image: (C, H, W) of data layers whose shape nothing states.
    """
    weights = open_caffemodel(caffemodel)
    network = read_part(part_of(prototxt, weights, options, folder, image))
    assert isinstance(network.source, CaffeSource)
    source = replace(
        network.source,
        files=tuple(path for path, _ in companions),
        reader=partial(_reread, options=options, folders=[folder, *(f for _, f in companions)]),
    )
    network = replace(network, source=source)
    found, notes = read_companions(network, companions, read_part)
    return replace(network, companions=found, notes=(*network.notes, *notes))


def _reread(
    prototxt: Path,
    caffemodel: Path,
    companions: Sequence[Path],
    *,
    options: Options,
    folders: Sequence[Path],
    training: bool = False,
) -> Network:
    """Read written files, perhaps for training; each names files in the folder of its original."""
    if training:
        options = replace(options, training=True, phase="TRAIN")
    first, *further = folders
    files = list(zip(companions, further, strict=False))
    return _load(prototxt, caffemodel, files, options=options, folder=first)


def read_part(part: Part) -> Network:
    """Read one net."""
    prototxt, document, weights, chosen = part.path, part.document, part.weights, part.chosen
    others, options = part.others, part.options
    # A companion need not be computed: what an unknown layer reads in it is kept.
    unknown = Border if part.companion else Unknown
    with located(file=str(prototxt)):
        notes = check_schema(document.root, {cls.param for cls in LAYERS.values()})
        layers = with_images([read_layer(text, options.opaque, unknown) for text in chosen])
        notes += [] if part.companion else unused_types(options.opaque, layers)
        notes += [
            Caution(f"{text.item} in line {text.line}: {param} has {field}, which is not Caffe's "
                    "own and not read: what a fork does by it is not done")
            for text, layer in zip(chosen, layers, strict=True)
            for param, field in unread_fields(type(layer), text.message, layer.param)
        ]  # fmt: skip
        check_links(chosen, others)
        layers = fit(layers, weights)
        matched = match(chosen, layers, weights, str(prototxt))
        network, wires = _Reading(
            name=part.name or part.net.name or plain_path(prototxt).stem,
            file=str(prototxt), texts=chosen,
            layers=layers, matched=matched, weights=weights, outputs=part.outputs,
            settings=Settings(
                input_shapes=options.input_shapes, folder=part.folder, like=part.like,
                companion=part.companion,
                phase=options.phase, batch_norm=options.batch_norm,
                training=options.training and not part.companion, untrained=options.untrained,
            ),
            names={text.name for text in part.net.layers},
        ).run()  # fmt: skip
    source = CaffeSource(
        paths={".prototxt": prototxt, ".caffemodel": weights.path},
        document=document,
        weights=weights,
        layers=tuple(
            SourceLayer(
                layer=layer,
                text=text,
                stored=stored or definitions(text, chosen, weights),
                twins=twins(text, others),
                bottoms=bottoms,
                tops=tops,
            )
            for text, layer, stored, (bottoms, tops) in zip(
                chosen, layers, matched, wires, strict=True
            )
        ),
        part=part,
        model=network.model,
    )
    return replace(network, source=source, notes=(*notes, *network.notes))


def _names(values: Sequence[ir.Value | None]) -> tuple[str, ...]:
    return tuple("" if value is None else str(value.name) for value in values)


def _put_regions_last(graph: ir.Graph) -> None:
    """Order the inputs so that the first one has a row a sample."""
    regions = region_inputs(graph)
    inputs = sorted(graph.inputs, key=lambda value: str(value.name) in regions)
    if inputs != list(graph.inputs):
        graph.inputs[:] = inputs


@dataclass(frozen=True)
class _Reading:
    """One pass over the layers of a net, with a symbolic or a static batch."""

    name: str
    file: str
    texts: Sequence[LayerText]
    layers: Sequence[Layer]
    matched: Sequence[tuple[int, ...]]
    weights: Caffemodel
    settings: Settings
    outputs: frozenset[str] | None = None
    """Tops that may become outputs; None for all that no layer reads."""
    names: Collection[str] = ()
    """The names of all layers of the text, in every phase."""

    def run(self) -> tuple[Network, list[Wires]]:
        """Return the network, and what each layer reads and makes.

        The graph has the batch size of the file if a layer computes with it.
        """
        needs = find_needs(self.layers, self.settings.input_shapes)
        unread = {(index, self.layers[index].tops[place]) for index, place in needs.unread}
        settings = replace(self.settings, unread=frozenset(unread))
        reading = replace(self, settings=settings)
        try:
            return reading._run(needs)
        except StaticBatchNeeded:
            return reading._static(needs)

    def _static(self, needs: Needs) -> tuple[Network, list[Wires]]:
        """Return the network with the batch size of the file, or with a smaller one.

        What a file claims of its batch is no reason to take that much memory.
        """
        network, wires = self._with_batches(needs, {})
        if largest_bytes(network) <= LARGEST_VALUE:
            return network, wires
        claimed = {number(shape[0]) for shape in network.inputs.values() if shape}
        for batches in smaller_batches(claimed):
            try:
                small, own = self._with_batches(needs, batches)
            except SecateurError:
                continue  # a layer has a number of samples of its own
            shown = ", ".join(f"{was} as {now}" for was, now in batches.items() if was != now)
            note = Caution(f"batch sizes are taken smaller than in {self.file}: {shown}")
            return replace(small, notes=(*small.notes, note)), own
        return network, wires

    def _with_batches(
        self, needs: Needs, batches: Mapping[int, int]
    ) -> tuple[Network, list[Wires]]:
        """Return the network with batch sizes of the file, some of them replaced."""
        settings = replace(
            self.settings, static=True, batch=None, batches=batches, inputs=[], left_out={},
            doubts={},
        )  # fmt: skip
        return replace(self, settings=settings)._run(needs)

    def _run(self, needs: Needs) -> tuple[Network, list[Wires]]:
        builder = Builder(self.name)
        refs, sharers = self._references()
        shared: dict[tuple[BlobRef, ...], ir.Value] = {}
        values: dict[str, ir.Value | None] = {}
        absent: dict[str, str] = {}
        unread: dict[str, ir.Value] = {}
        storage: dict[str, tuple[int, int]] = {}
        links: list[_Link] = []
        seams = Seams(needs=needs)
        notes = [note for layer in self.layers for note in layer.notes()]
        for index, (text, layer) in enumerate(zip(self.texts, self.layers, strict=True)):
            builder.layer, builder.scope = index, layer.name or f"{layer.type}{index}"
            bottoms = [values[bottom] for bottom in layer.bottoms]
            with located(file=self.file, line=text.line, item=text.item):
                present = [value for value in bottoms if value is not None]
                if layer.stored() and len(present) < len(bottoms):
                    raise self._lacking(index, values)
                stored = self._stored(index, present, sharers, notes) if layer.stored() else {}
                b = CaffeBuilder(builder, stored, refs[index], shared, reading=self.settings)
                border = layer.border or self._keeps_weights(index, bottoms)
                if border:
                    tops = seams.cross(b, self.layers, index, bottoms)
                else:
                    why = next((absent[name] for name in layer.bottoms if name in absent), "")
                    tops = self._tops(b, layer, bottoms, why, notes)
                left_out = len(present) < len(bottoms) and not any(tops)
                taken = border or not (layer.decodes or left_out)
                for bottom in layer.bottoms if taken else ():
                    unread.pop(bottom, None)
                self._check_memory(index, tops, values, unread, storage)
            for name, top in zip(layer.tops, tops, strict=True):
                values[name] = top
                absent.pop(name, None)
                if top is None and layer.bottoms:
                    absent[name] = f"it reads what layer '{layer.name}' makes"
                if top is not None and not border and (layer.bottoms or stored):
                    unread[name] = top
            links.append((bottoms, tops, sum(blob.size for blob in stored.values())))
        builder.layer, builder.scope = None, self.name
        network = self._network(builder, unread, links, seams, [*notes, *self.settings.cautions()])
        return network, [(_names(bottoms), _names(tops)) for bottoms, tops, _ in links]

    def _stored(
        self,
        index: int,
        bottoms: Sequence[ir.Value],
        sharers: Mapping[BlobRef, tuple[BlobRef, ...]],
        notes: list[str],
    ) -> dict[str, np.ndarray]:
        """Return the stored blobs of a layer by name, in the shapes it needs. Adds to `notes`."""
        shapes = self.layers[index].shapes(*map(CaffeBuilder.shape, bottoms))
        notes += self._shape_notes(index, shapes)
        return {
            name: self._blob(index, position, shapes, sharers)
            for position, name in enumerate(shapes)
        }

    def _keeps_weights(self, index: int, bottoms: Sequence[ir.Value | None]) -> bool:
        """Whether a layer of an unknown type is left out and has weights, which fit its bottoms."""
        unknown = isinstance(self.layers[index], Unknown)
        return unknown and bool(self.matched[index]) and any(value is None for value in bottoms)

    def _lacking(self, index: int, values: Mapping[str, ir.Value | None]) -> UnsupportedError:
        """Return what to raise where a layer with weights has no value to read."""
        name = next(bottom for bottom in self.layers[index].bottoms if values[bottom] is None)
        maker = next(layer for layer in reversed(self.layers[:index]) if name in layer.tops)
        hint = f"--input-shape {name}=C,H,W makes it an input"
        if isinstance(maker, Unknown):
            hint = f"--opaque {maker.type[:80]} keeps that layer as a border"
        elif maker.bottoms:
            hint = f"--opaque {maker.type[:80]} keeps layers of that type as borders"
        return UnsupportedError(
            f"it has weights, and reads '{name}', for which layer '{maker.name}' ({maker.type}) "
            "gives no value",
            hint=hint,
        )

    def _tops(
        self,
        b: CaffeBuilder,
        layer: Layer,
        bottoms: Sequence[ir.Value | None],
        why: str,
        notes: list[str],
    ) -> tuple[ir.Value | None, ...]:
        """Return the tops of a layer; None for an absent top. Adds to `notes`.

        `why` says what makes a bottom absent; "" for labels.
        """
        if any(bottom is None for bottom in bottoms):
            top = layer.without(b, *bottoms)
            what = "left out" if top is None else "read as inference does"
            notes.append(
                f"layer '{layer.name}' ({layer.type}) is {what}: {why or 'it has no labels'}"
            )
            return (top, *(None,) * (len(layer.tops) - 1)) if layer.tops else ()
        axes = b.rank(bottoms[0]) if bottoms and bottoms[0] is not None else 0
        least, most = layer.bottom_axes
        if bottoms and not least <= axes <= most:
            limit = f"{least}" if least == most else f"{least} to {most}"
            raise FormatError(f"the bottom has {axes} axes, this layer takes {limit}")
        if layer.decodes:
            return (None,) * len(layer.tops)
        found = layer.to_ir(b, *bottoms)
        tops = found if isinstance(found, tuple) else (found,)
        if len(tops) != len(layer.tops):
            raise FormatError(f"{len(layer.tops)} tops, but this layer makes {len(tops)}")
        return tops

    def _references(
        self,
    ) -> tuple[list[dict[str, tuple[BlobRef, ...]]], dict[BlobRef, tuple[BlobRef, ...]]]:
        """Return the references of each layer by blob name, and reference → all that share it."""
        groups: dict[str, list[BlobRef]] = {}
        every: list[list[tuple[BlobRef, str]]] = []
        for index, (text, layer) in enumerate(zip(self.texts, self.layers, strict=True)):
            own = []
            for position, blob in enumerate(layer.stored()):
                ref = BlobRef(index, position, blob.name)
                name = text.params[position][0] if position < len(text.params) else ""
                if name:
                    groups.setdefault(name, []).append(ref)
                own.append((ref, name))
            every.append(own)
        sharers = {ref: tuple(group) for group in groups.values() for ref in group}
        refs = [{ref.name: sharers.get(ref, (ref,)) for ref, _ in own} for own in every]
        return refs, sharers

    def _blob(
        self,
        index: int,
        position: int,
        shapes: Mapping[str, tuple[int, ...]],
        sharers: Mapping[BlobRef, tuple[BlobRef, ...]],
    ) -> np.ndarray:
        """Return a stored blob in the shape that `shapes` gives it, once its stored shape fits.

        Layers that share parameters all get the values that stand last in the file.
        """
        layer = self.layers[index]
        own = BlobRef(index, position, layer.stored()[position].name)
        shape = shapes[own.name]
        candidates = sorted(
            (entry, ref.index, ref)
            for ref in sharers.get(own, (own,))
            for entry in self.matched[ref.layer]
        )
        if not candidates and (self.settings.companion or self.settings.untrained):
            if math.prod(shape) > LARGEST_UNTRAINED:
                raise UnsupportedError(f"{own.name} of {'×'.join(map(str, shape))} is too large")
            return np.broadcast_to(np.float32(0), shape)
        if not candidates:
            shown = "×".join(map(str, shape))
            with located(file=str(self.weights.path), item=self.texts[index].item):
                raise FormatError(
                    f"no weights: {own.name} of {shown} is not in the file",
                    hint=weights_elsewhere(self.texts[index], shapes, self.names, self.weights),
                )
        for entry, _, ref in candidates:
            blob = self.weights.layers[entry].blobs[ref.index]
            # Caffe compares shapes for the layer's own blob, and only counts for a shared one.
            fits = blob.fits(shape) or blob.fits_but_for_ones(shape)
            if not (fits if ref == own else blob.size == math.prod(shape)):
                stored = "×".join(map(str, blob.shape)) or "no dims"
                needed = "×".join(map(str, shape)) or "no dims"
                with located(
                    file=str(self.weights.path), offset=blob.tag, item=self.texts[ref.layer].item
                ):
                    raise FormatError(
                        f"{own.name} is stored as {stored}, the net needs {needed}", hint=TOGETHER
                    )
        entry, _, ref = candidates[-1]
        stored_blob = self.weights.layers[entry].blobs[ref.index]
        return self.weights.values(stored_blob).reshape(shape)

    def _shape_notes(self, index: int, shapes: Mapping[str, tuple[int, ...]]) -> list[Caution]:
        """Return a note on each blob of a layer whose axes of size 1 Caffe would refuse."""
        notes = []
        for position, (name, shape) in enumerate(shapes.items()):
            for entry in self.matched[index]:
                blob = self.weights.layers[entry].blobs[position]
                if not blob.fits(shape):
                    stored, needed = ("×".join(map(str, s)) for s in (blob.shape, shape))
                    notes.append(
                        Caution(
                            f"{self.texts[index].item}: {name} is stored as {stored}, not "
                            f"{needed}: OpenCV reads it, Caffe would refuse it"
                        )
                    )
        return notes

    def _check_memory(
        self,
        index: int,
        tops: Sequence[ir.Value | None],
        values: Mapping[str, ir.Value | None],
        unread: Mapping[str, ir.Value],
        storage: dict[str, tuple[int, int]],
    ) -> None:
        """Raise if an in-place layer would change another blob in Caffe, which shares its memory.

        Raises:
            UnsupportedError: names both blobs.
        """
        layer = self.layers[index]
        for position, (name, top) in enumerate(zip(layer.tops, tops, strict=True)):
            in_place = position < len(layer.bottoms) and layer.bottoms[position] == name
            if not in_place:
                first = layer.bottoms[0] if layer.bottoms else ""
                shared = bool(first) and layer.shares_memory()
                storage[name] = storage[first] if shared else (index, position)
                continue
            if top is values[name]:
                continue
            later = {bottom for other in self.layers[index + 1 :] for bottom in other.bottoms}
            for other, place in storage.items():
                if other != name and place == storage[name] and (other in later or other in unread):
                    raise UnsupportedError(
                        f"in place on '{name}', whose memory Caffe shares with '{other}': "
                        f"'{other}' would change too",
                        hint="give this layer a top of its own",
                    )

    def _network(
        self,
        builder: Builder,
        unread: Mapping[str, ir.Value],
        links: Sequence[_Link],
        seams: Seams,
        notes: Sequence[str],
    ) -> Network:
        """Name the outputs and return the network.

        Args:
            builder: the graph.
            unread: blobs that no layer reads, by name.
            links: bottoms, tops, and number of stored values of each layer.
            seams: what borders read and make.
            notes: notes on the layers.

        Raises:
            FormatError: there is no output.
        """
        inputs = set(self.settings.inputs)
        if self.outputs is not None:
            unread = {name: value for name, value in unread.items() if name in self.outputs}
        own = {f"{name}_out" if name in inputs else name: value for name, value in unread.items()}
        crossed = seams.outputs({*inputs, *own})
        outputs = {**crossed, **own}
        if not outputs:
            self._refuse_decoder()
            raise FormatError("the net computes nothing: no layer makes an output")
        model = builder.finish(outputs)
        _put_regions_last(model.graph)
        borders = seams.borders(self.texts, self._sharing(model))
        return Network(
            name=self.name,
            model=model,
            layers=self._infos(links),
            preprocess=self._preprocess(model),
            heads=tuple(
                head
                for layer in self.layers
                for head in layer.heads()
                if head.output in outputs and len(CaffeBuilder.shape(outputs[head.output])) > 1
            ),
            borders=borders,
            notes=(*notes, *seams.notes(self.layers, borders)),
        )

    def _sharing(self, model: ir.Model) -> dict[str, tuple[str, ...]]:
        """Return the name of a parameter that layers share → the initializers that hold it."""
        found: dict[str, tuple[str, ...]] = {}
        for value in model.graph.initializers.values():
            for ref in blob_refs(value):
                params = self.texts[ref.layer].params
                name = params[ref.index][0] if ref.index < len(params) else ""
                if name:
                    found[name] = (*found.get(name, ()), str(value.name))
        return found

    def _refuse_decoder(self) -> None:
        """Raise if a net without outputs has a layer that only decodes.

        Raises:
            UnsupportedError: names the layer.
        """
        for layer, text in zip(self.layers, self.texts, strict=True):
            if (layer.decodes or layer.border) and layer.tops:
                with located(file=self.file, line=text.line, item=text.item):
                    raise UnsupportedError(
                        "nothing is computed before this layer, and what it makes, and all "
                        "that follows, is left to its framework: nothing to read is left"
                    )

    def _infos(self, links: Sequence[_Link]) -> tuple[LayerInfo, ...]:
        """Return the layers as users know them."""
        return tuple(
            LayerInfo(
                name=layer.name,
                type=layer.type,
                bottoms=tuple(name for name in _names(bottoms) if name),
                tops=tuple(name for name in _names(tops) if name),
                line=text.line,
                stored=stored,
            )
            for text, layer, (bottoms, tops, stored) in zip(
                self.texts, self.layers, links, strict=True
            )
        )

    def _preprocess(self, model: ir.Model) -> Preprocess:
        """Return the preprocessing of the first layer that states one."""
        stated = (found for layer in self.layers if (found := layer.preprocess()) is not None)
        found = next(stated, None)
        preprocess = Preprocess() if found is None else replace(found, origin=self.file)
        first = model.graph.inputs[0].shape if model.graph.inputs else None
        gray = first is not None and len(first) == 4 and first[1] == 1
        return replace(preprocess, channels="gray") if gray else preprocess
