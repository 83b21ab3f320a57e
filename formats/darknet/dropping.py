"""Taking sections out of a cfg: every index that others name then is another.

A [shortcut] whose branch leaves hands on what it added the branch to. Where that is the section
before it, the [shortcut] goes, too; else it becomes a [route] to it. Its activation, where it has
one that changes something, stays as an [activation].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ...core.errors import UnsupportedError, located
from ...core.ir.network import Bypass, Network, Piece, layer_of
from ..adapter import keys_of
from ..aside import read_aside
from .document import Document, parse
from .numerals import read_int
from .source import DarknetSource

__all__ = ["without_layers"]

TRAINING_REFERENCES = ("embedding_layer",)
"""Keys of sections that only training reads, and that name a layer. Source: parser.c parse_yolo."""


def without_layers(source: DarknetSource, network: Network, bypasses: Sequence[Bypass]) -> Network:
    """Return a network without some layers, as it is read from files that lack them.

    Args:
        source: the files that the network was read from.
        network: the network, whose weights are taken.
        bypasses: the layers that leave, and the [shortcut]s behind them.

    Raises:
        UnsupportedError: a [shortcut] with an activation is not behind what it hands on.
    """
    cut = _Cut(source=source, network=network, bypasses=tuple(bypasses))
    cfg, weights = source.paths[".cfg"], source.paths[".weights"]
    texts = {
        cfg: b"".join(map(bytes, source.pieces(network)[".cfg"])),
        **source.companions(network),
    }
    pieces: list[Piece] = [source.header]
    for index in cut.left:
        if index not in cut.becomes:
            pieces += source.blobs(network, index)
    files: dict[Path, Sequence[Piece]] = {
        path: [cut.text(parse(text, str(path)))] for path, text in texts.items()
    }
    further = list(source.files)
    found, stands_for = read_aside(
        {**files, weights: pieces},
        lambda places: source.read_again(
            places[cfg], places[weights], [places[path] for path in further]
        ),
    )
    found = _named(found, stands_for)
    return replace(found, companions=tuple(_named(one, stands_for) for one in found.companions))


def _named(network: Network, stands_for: Mapping[Path, Path]) -> Network:
    """Return a network whose source names the files that those aside stand for."""
    source = network.source
    assert isinstance(source, DarknetSource), "read from such files"

    def original(path: Path) -> Path:
        return stands_for.get(path, path)

    paths = {end: original(path) for end, path in source.paths.items()}
    return replace(
        network,
        source=replace(
            source,
            paths=paths,
            document=replace(source.document, file=str(paths[".cfg"])),
            files=tuple(map(original, source.files)),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """What becomes of the sections. Indices are those of layers, from 0, before the cut."""

    source: DarknetSource
    network: Network
    bypasses: tuple[Bypass, ...]

    @cached_property
    def hands_on(self) -> dict[int, int]:
        """The index of each [shortcut] without its branch → that of the layer it hands on."""
        found = {}
        for bypass in self.bypasses:
            inputs = self.source.records[bypass.joint].section.inputs()
            bottoms = self.network.layers[bypass.joint].bottoms
            found[bypass.joint] = inputs[bottoms.index(bypass.kept)]
        return found

    @cached_property
    def gone(self) -> frozenset[int]:
        """The layers of the branches, and those that only handed something on to them."""
        gone = {index for bypass in self.bypasses for index in bypass.layers}
        readers = self._readers()
        computing = {layer_of(node) for node in self.network.graph}
        for index in reversed(range(len(self.source.records))):
            passes = index not in computing and not self.source.records[index].section.loss
            if passes and readers[index] and readers[index] <= gone:
                gone.add(index)
        return frozenset(gone)

    def _readers(self) -> list[set[int]]:
        """Return the readers of each layer; a [shortcut] without its branch reads one layer."""
        found: list[set[int]] = [set() for _ in self.source.records]
        for index, record in enumerate(self.source.records):
            inputs = (self.hands_on[index],) if index in self.hands_on else record.section.inputs()
            for each in inputs:
                if each >= 0:
                    found[each].add(index)
        return found

    @cached_property
    def becomes(self) -> dict[int, str]:
        """The text of each [shortcut] that becomes another section; "" for one that goes.

        Raises:
            UnsupportedError: it would have to be two.
        """
        found: dict[int, str] = {}
        before = -1
        stays = {bypass.joint: bypass.stays for bypass in self.bypasses}
        for index, record in enumerate(self.source.records):
            if index in self.gone:
                continue
            if index not in stays:
                before = index
                continue
            follows = self._resolved(self.hands_on[index], found) == before
            if stays[index] and not follows:
                with located(file=self.source.document.file, item=record.item):
                    raise UnsupportedError(
                        "its branch cannot leave: the activation of this [shortcut] would have to "
                        "follow a layer that is not the one before it",
                        hint="write the activation as an [activation] of its own",
                    )
            if stays[index]:
                activation = getattr(record.section, "activation", "linear")
                found[index] = f"[activation]\nactivation={activation}\n"
            else:
                found[index] = "" if follows else "[route]\nlayers={}\n"
            if found[index]:
                before = index
        return found

    @staticmethod
    def _end(index: int, hands_on: Mapping[int, int], texts: Mapping[int, str]) -> int:
        while texts.get(index) == "":
            index = hands_on[index]
        return index

    def _resolved(self, index: int, texts: Mapping[int, str]) -> int:
        """Return the layer whose output a layer's output is now."""
        return self._end(index, self.hands_on, texts)

    @cached_property
    def left(self) -> tuple[int, ...]:
        """The layers that have a section, in order."""
        return tuple(
            index
            for index in range(len(self.source.records))
            if index not in self.gone and self.becomes.get(index) != ""
        )

    @cached_property
    def now(self) -> dict[int, int]:
        """Index → the index that the layer has now."""
        return {index: number for number, index in enumerate(self.left)}

    def text(self, document: Document) -> bytes:
        """Return a cfg of these sections without those that go."""
        changed = document.replace(values) if (values := self._values(document)) else document
        spans = _spans(changed)
        newline = b"\r\n" if b"\r\n" in changed.data else b"\n"
        parts, done = [], 0
        for index, (start, stop) in enumerate(spans[1:]):
            text = self.becomes.get(index)
            if index not in self.gone and text is None:
                continue
            if text:
                place = self.now[self._resolved(self.hands_on[index], self.becomes)]
                text = text.format(place - self.now[index]) + "\n"
            parts += [changed.data[done:start], (text or "").encode().replace(b"\n", newline)]
            done = stop
        return b"".join([*parts, changed.data[done:]])

    def _values(self, document: Document) -> dict[tuple[int, str], str]:
        """Return (section, key) → the indices that it names now, where they are others."""
        found = {}
        for index in self.left:
            record = self.source.records[index]
            declared = keys_of(record.section)
            names = [declared[name][1].names[0] if declared[name][1].names else name
                     for name in record.section.references]  # fmt: skip
            for key in (*names, *TRAINING_REFERENCES) if index not in self.becomes else ():
                option = document.sections[index + 1].options.get(key)
                if option is None or option.value is None:
                    continue
                numbers = [self._number(read_int(part), index) for part in option.value.split(",")]
                text = ",".join(map(str, numbers))
                if numbers != [read_int(part) for part in option.value.split(",")]:
                    found[index + 1, key] = text
        return found

    def _number(self, number: int, index: int) -> int:
        """Return what a number in a section has to be; it counts back or from 0, as before.

        A number that names no layer, or one that only an ignored key may name, stays.
        """
        target = self._resolved(index + number if number < 0 else number, self.becomes)
        if target not in self.now:
            return number
        return self.now[target] - (self.now[index] if number < 0 else 0)


def _spans(document: Document) -> list[tuple[int, int]]:
    """Return the text of each section: from its header to the next, or to comments before that."""
    data = document.data
    starts = [data.rfind(b"\n", 0, max(block.end - 1, 0)) + 1 for block in document.sections]
    found = []
    for start, stop in zip(starts, [*starts[1:], len(data)], strict=True):
        lines = data[start:stop].splitlines(keepends=True)
        count = len(lines)
        while stop < len(data) and count > 1 and _idle(lines[count - 1]):
            count -= 1
        comment = next((k for k in range(count, len(lines)) if lines[k].strip()), len(lines))
        found.append((start, start + sum(map(len, lines[:comment]))))
    return found


def _idle(line: bytes) -> bool:
    """Whether a line is empty or a comment."""
    stripped = line.strip()
    return not stripped or stripped[:1] in b"#;"
