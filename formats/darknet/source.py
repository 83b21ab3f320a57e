"""Writing a Darknet network back: its documents, patched for a changed graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ...core.errors import UnsupportedError, located
from ...core.ir.network import BlobRef, Bypass, Network, Piece, layer_of, tensors_by_blob
from ..adapter import keys_of
from .document import Document
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

    `model` is the graph as it was read. If a blob still has the same tensor object as there, it did
    not change, and its bytes are written as they were read.
    """

    paths: Mapping[str, Path]
    document: Document
    header: bytes
    records: Sequence[Record]
    model: ir.Model
    read_again: Callable[..., Network]
    """Reads files with the settings of the original, for training where `training` is true."""
    files: tuple[Path, ...] = ()
    """Further cfgs that were read with the network."""
    training: bool = False
    """Whether it was read for training."""
    format: str = "darknet"

    @cached_property
    def tensors(self) -> Mapping[BlobRef, ir.TensorProtocol]:
        """The tensors of the graph as it was read."""
        return tensors_by_blob(self.model)

    def unchanged(self, network: Network) -> bool:
        """Whether the graph is the very one that was read."""
        return network.model is self.model

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

    def companions(self, network: Network) -> dict[Path, bytes]:
        """Return the further cfgs that were read with the network, for a changed network.

        Raises:
            UnsupportedError: the network was changed, and its companions were not.
        """
        if len(network.companions) != len(self.files):
            raise UnsupportedError(
                "the network was changed without its companions",
                hint="prune, apply_plan and densify change both",
            )
        found = {}
        for path, companion in zip(self.files, network.companions, strict=True):
            assert isinstance(companion.source, DarknetSource)
            found[path] = companion.source.render(companion)[".cfg"]
        return found

    def without(self, network: Network, bypasses: Sequence[Bypass]) -> Network:
        """Return the network without some layers, as it is read from a cfg that lacks them.

        Raises:
            UnsupportedError: no section can say what is left of one.
        """
        from .dropping import without_layers

        return without_layers(self, network, bypasses)

    def blobs(self, network: Network, index: int) -> list[Piece]:
        """Return the bytes of the blobs of a layer, in file order."""
        return self._blobs(self.records[index], tensors_by_blob(network.model))

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

    def reread(
        self, paths: Mapping[str, Path], companions: Sequence[Path] = (), *, training: bool = False
    ) -> Network:
        """Read written files again with the settings of this source, or those but for training."""
        further = {"training": True} if training else {}
        return self.read_again(paths[".cfg"], paths[".weights"], companions, **further)

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
