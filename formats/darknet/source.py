"""Writing a Darknet network back: its documents, patched for a changed graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, located
from ...core.ir.network import BlobRef, Network, Piece, layer_of, tensors_by_blob
from ..adapter import keys_of
from .document import Document, parse
from .section import Section

__all__ = ["DarknetSource", "Record"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A layer as it was read.

    Args:
        section: the section with its keys.
        item: name of the layer in messages.
        refs: blob name → references to the blob in the file; those of another layer if it shares.
        stored: blob name → values in the file, in file order; empty if the file ends before them.
    """

    section: Section
    item: str
    refs: Mapping[str, tuple[BlobRef, ...]] = field(default_factory=dict)
    stored: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def own(self) -> dict[str, BlobRef]:
        """Blob name → reference, for the blobs that the file stores for this layer."""
        return {name: self.refs[name][0] for name in self.stored}


@dataclass(frozen=True, kw_only=True)
class DarknetSource:
    """The cfg and weights that a network was read from; renders them for the changed network.

    `tensors` holds the tensors of the graph as it was read. If a blob still has the same tensor
    object, it did not change, and its bytes are written as they were read.
    """

    paths: Mapping[str, Path]
    document: Document
    header: bytes
    records: Sequence[Record]
    tensors: Mapping[BlobRef, ir.TensorProtocol]
    read_again: Callable[[Path, Path], Network]
    training: bool = False
    """Whether it was read for training."""
    format: str = "darknet"

    def render(self, network: Network) -> Mapping[str, bytes]:
        """Return cfg and weights for a network that was made from the one that was read.

        Only changed values are patched: an unchanged network gives its files byte for byte.

        Raises:
            FormatError: a key cannot be written.
        """
        return {suffix: b"".join(parts) for suffix, parts in self.pieces(network).items()}

    def pieces(self, network: Network) -> Mapping[str, Sequence[Piece]]:
        """Return the files of `render`, each as a list of consecutive parts."""
        values, chunks = self._changes(network)
        document = self.document.replace(values) if values else self.document
        return {".cfg": [bytes(document)], ".weights": chunks}

    def companion(self, network: Network, path: Path) -> bytes:
        """Return another cfg of the same sections with the changed keys of `network`.

        Raises:
            FormatError: the file cannot be read, or it describes other layers.
        """
        values, _ = self._changes(network)
        with located(file=str(path)):
            try:
                other = parse(path.read_bytes(), str(path))
            except OSError as error:
                raise FormatError(f"cannot be read: {error.strerror or error}") from error
            if [b.name for b in other.sections] != [b.name for b in self.document.sections]:
                raise FormatError("its sections are not those of the network")
            for position, key in values:
                own, theirs = (
                    document.sections[position].options.get(key)
                    for document in (self.document, other)
                )
                if (own.value if own else None) != (theirs.value if theirs else None):
                    raise FormatError(f"{key} of section {position} is not that of the network")
            return bytes(other.replace(values))

    def _changes(self, network: Network) -> tuple[dict[tuple[int, str], int | str], list[Piece]]:
        """Return (section, key) → new value, and the weights file in parts."""
        tensors = tensors_by_blob(network.model)
        nodes: defaultdict[int | None, list[ir.Node]] = defaultdict(list)
        for node in network.graph:
            nodes[layer_of(node)].append(node)
        values: dict[tuple[int, str], int | str] = {}
        chunks: list[Piece] = [self.header]
        for index, record in enumerate(self.records):
            if not record.refs:
                continue
            with located(file=self.document.file, item=record.item):
                values.update(self._changed_keys(record, index, nodes[index], tensors))
                chunks += self._blobs(record, tensors)
        return values, chunks

    def reread(self, paths: Mapping[str, Path]) -> Network:
        """Read written files again, with the settings of this source."""
        return self.read_again(paths[".cfg"], paths[".weights"])

    def _changed_keys(
        self,
        record: Record,
        index: int,
        nodes: Sequence[ir.Node],
        tensors: Mapping[BlobRef, ir.TensorProtocol],
    ) -> dict[tuple[int, str], int | str]:
        """Return (section, key) → new value for one layer; section 0 of the file is [net]."""
        if any(refs[0] not in tensors for refs in record.refs.values()):
            return {}
        arrays = {name: tensors[refs[0]].numpy() for name, refs in record.refs.items()}
        section = record.section.from_ir(nodes, arrays)
        return {
            (index + 1, declared.names[0] if declared.names else name): getattr(section, name)
            for name, (_, declared) in keys_of(section).items()
            if declared.channels and getattr(section, name) != getattr(record.section, name)
        }

    def _blobs(self, record: Record, tensors: Mapping[BlobRef, ir.TensorProtocol]) -> list[Piece]:
        """Return the bytes of a layer's blobs, in file order."""
        changed = {
            name: tensors[ref].numpy()
            for name, ref in record.own.items()
            if ref in tensors and tensors[ref] is not self.tensors[ref]
        }
        changed = {
            name: array
            for name, array in changed.items()
            if not np.array_equal(array, self.tensors[record.own[name]].numpy(), equal_nan=True)
        }
        stored = record.section.store(changed) if changed else changed
        return [
            np.ascontiguousarray(stored[name], dtype="<f4").tobytes()
            if name in stored
            else array.reshape(-1).view(np.uint8).data
            for name, array in record.stored.items()
        ]
