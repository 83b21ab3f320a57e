"""Taking layers out of Caffe's texts and weights: what read a sum then reads what it becomes.

All texts of a network lose the same layers, in every phase, and so does the caffemodel, which may
define a net of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import UnsupportedError, located
from ...core.ir.network import Bypass, Network, layer_of
from ..aside import read_aside
from .caffemodel import Caffemodel, open_caffemodel
from .definition import definition_of
from .document import Document, Remove, Replace, parse
from .source import CaffeSource, SourceLayer
from .upgrade import LayerText, net_of

__all__ = ["without_layers"]


def without_layers(source: CaffeSource, network: Network, bypasses: Sequence[Bypass]) -> Network:
    """Return a network without some layers, as it is read from files that lack them.

    Args:
        source: the files that the network was read from.
        network: the network, whose weights are taken.
        bypasses: the layers that leave, and the sums behind them.

    Raises:
        UnsupportedError: a text cannot say what is left.
    """
    prototxt, caffemodel = source.paths[".prototxt"], source.paths[".caffemodel"]
    pieces = source.pieces(network)
    texts = {prototxt: b"".join(pieces[".prototxt"]), **source.companions(network)}
    cut = _Cut.of(source, network, bypasses)
    files = {path: [cut.text(parse(text, path))] for path, text in texts.items()}
    weights, _ = read_aside(
        {caffemodel: pieces[".caffemodel"]}, lambda places: open_caffemodel(places[caffemodel])
    )
    read_again = source.reader
    assert read_again is not None, "a companion is read with its network"
    found, stands_for = read_aside(
        {**files, caffemodel: cut.weights(weights)},
        lambda places: read_again(
            places[prototxt], places[caffemodel], [places[path] for path in source.files]
        ),
    )
    found = _named(found, stands_for)
    return replace(found, companions=tuple(_named(one, stands_for) for one in found.companions))


def _named(network: Network, stands_for: Mapping[Path, Path]) -> Network:
    """Return a network whose source names the files that those aside stand for."""
    source = network.source
    assert isinstance(source, CaffeSource), "read from such files"

    def original(path: Path) -> Path:
        return stands_for.get(path, path)

    part = source.part
    document = replace(source.document, file=str(original(part.path)))
    weights = replace(source.weights, path=original(source.weights.path))
    return replace(
        network,
        source=replace(
            source,
            paths={end: original(path) for end, path in source.paths.items()},
            document=document,
            weights=weights,
            files=tuple(map(original, source.files)),
            part=replace(
                part,
                document=document,
                path=original(part.path),
                weights=weights,
                target=original(part.target) if part.target is not None else None,
            ),
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cut:
    """What leaves.

    Args:
        gone: name and type of each layer that leaves.
        joints: name and type of each sum → which of its bottoms it becomes.
    """

    gone: frozenset[tuple[str, str]]
    joints: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, source: CaffeSource, network: Network, bypasses: Sequence[Bypass]) -> _Cut:
        """Return what leaves the texts of a network.

        Raises:
            UnsupportedError: a sum does something else as well, or a layer has no name.
        """
        layers = source.layers
        gone = {index for bypass in bypasses for index in bypass.layers}
        joints = {bypass.joint: layers[bypass.joint].bottoms.index(bypass.kept)
                  for bypass in bypasses}  # fmt: skip
        for index in sorted((*gone, *joints)):
            text = layers[index].text
            if not text.name:
                with located(file=str(source.paths[".prototxt"]), line=text.line, item=text.item):
                    raise UnsupportedError(
                        "it would leave with its block, but has no name", hint="give it a name"
                    )
        for bypass in bypasses:
            if bypass.stays:
                text = layers[bypass.joint].text
                with located(file=str(source.paths[".prototxt"]), line=text.line, item=text.item):
                    raise UnsupportedError("the branch cannot leave: this layer does more than add")
        computing = {layer_of(node) for node in network.graph}
        for index in reversed(range(len(layers))):
            readers = _readers(layers, index) - gone
            idle = {
                joint for joint in readers & set(joints)
                if layers[joint].layer.bottoms[joints[joint]] not in layers[index].layer.tops
            }  # fmt: skip
            if index not in computing and layers[index].layer.bottoms and readers == idle:
                gone |= {index} if _readers(layers, index) else set()
        return cls(
            gone=frozenset((layers[i].text.name, layers[i].text.type) for i in gone),
            joints={(layers[i].text.name, layers[i].text.type): k for i, k in joints.items()},
        )

    def rewired(self, texts: Sequence[LayerText]) -> tuple[set[int], dict[int, dict[int, str]]]:
        """Return which layers of a net leave, and position → bottom → the blob that it reads now.

        Raises:
            UnsupportedError: a blob that a sum becomes is overwritten before it is read.
        """
        leave: set[int] = set()
        reads: dict[int, dict[int, str]] = {}
        becomes: dict[str, str] = {}
        splits = self._splits(texts)
        for index, text in enumerate(texts):
            key = (text.name, text.type)
            bottoms = [becomes.get(blob.text, blob.text) for blob in text.bottoms]
            if key in self.joints or index in splits:
                leave.add(index)
                kept = bottoms[self.joints.get(key, 0)]
                for top in text.tops:
                    becomes.pop(top.text, None)
                    if top.text != kept:
                        becomes[top.text] = kept
                continue
            if key in self.gone:
                leave.add(index)
                continue
            changed = {
                k: name
                for k, (blob, name) in enumerate(zip(text.bottoms, bottoms, strict=True))
                if blob.text != name
            }
            if changed:
                reads[index] = changed
            for top in text.tops:
                becomes.pop(top.text, None)
                if top.text in becomes.values() and _read_later(
                    texts[index + 1 :], [name for name, to in becomes.items() if to == top.text]
                ):
                    with located(line=text.line, item=text.item):
                        raise UnsupportedError(
                            f"the branch cannot leave: '{top.text}' is overwritten before it is "
                            "read in place of the sum",
                            hint="give this layer a top of its own",
                        )
        return leave, reads

    def _splits(self, texts: Sequence[LayerText]) -> set[int]:
        """Return the Split layers of which a layer that leaves reads a top."""
        read = {
            blob.text
            for text in texts
            if (text.name, text.type) in self.gone or (text.name, text.type) in self.joints
            for blob in text.bottoms
        }
        return {
            index
            for index, text in enumerate(texts)
            if text.type == "Split" and not read.isdisjoint(top.text for top in text.tops)
        }

    def text(self, document: Document) -> bytes:
        """Return a text without what leaves.

        Raises:
            UnsupportedError: the text cannot say what is left.
        """
        with located(file=document.file):
            texts = net_of(document).layers
            leave, reads = self.rewired(texts)
            fields = {id(field.value): field for field in document.root.fields}
            spans = {field.value.span: field for field in document.root.fields}
            edits: list[Remove | Replace] = []
            for index in sorted(leave):
                message = texts[index].message
                edits.append(Remove(fields.get(id(message)) or spans[message.span]))
            for index, changed in reads.items():
                edits += [Replace(texts[index].bottoms[k], _quoted(name))
                          for k, name in changed.items()]  # fmt: skip
            return bytes(document.replace(edits))

    def weights(self, weights: Caffemodel) -> list[bytes | memoryview]:
        """Return a caffemodel without what leaves, as its parts.

        Where it defines a net, that is wired anew.
        """
        names = {name for name, _ in (*self.gone, *self.joints)}
        definition = definition_of(weights)
        texts = net_of(definition).layers if definition is not None else ()
        if len(texts) != len(weights.layers):
            return weights.without_layers(names, {})
        leave, reads = self.rewired(texts)
        return weights.without_layers(
            {*names, *(texts[index].name for index in leave)},
            {
                index: {texts[index].bottoms[k].text: name for k, name in changed.items()}
                for index, changed in reads.items()
            },
        )


def _readers(layers: Sequence[SourceLayer], index: int) -> set[int]:
    """Return the layers that read what a layer makes, before it is overwritten."""
    found: set[int] = set()
    open_tops = set(layers[index].layer.tops)
    for later in range(index + 1, len(layers)):
        layer = layers[later].layer
        if open_tops & set(layer.bottoms):
            found.add(later)
        open_tops -= set(layer.tops)
    return found


def _read_later(texts: Sequence[LayerText], names: Sequence[str]) -> bool:
    """Whether a layer reads one of some blobs, before it is overwritten."""
    left = set(names)
    for text in texts:
        if any(blob.text in left for blob in text.bottoms):
            return True
        left -= {top.text for top in text.tops}
    return False


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
