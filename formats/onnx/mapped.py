"""Reading an ONNX file without its large weights, which stay in the mapped file.

Source of the field numbers: onnx.proto (ModelProto, GraphProto, TensorProto).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, Message

from ...core.errors import FormatError
from ...core.ir.network import Piece
from ..files import map_file
from ..impostors import refuse_impostor
from ..registry import HEAD_BYTES
from ..wire import LENGTH, WireField, length_field, walk
from .external import map_external

__all__ = ["INLINE", "Mapped", "open_onnx"]

INLINE = 1024
"""Largest size in bytes of a tensor that is parsed with the model."""

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number


@dataclass(frozen=True)
class Mapped:
    """An ONNX file.

    Args:
        proto: the model without its large float tensors.
        large: the large tensors by name, as views of the files.
        maps: the mapped files.
        external: further files with weights.
    """

    proto: onnx.ModelProto
    large: Mapping[str, ir.Tensor[np.ndarray]]
    maps: tuple[mmap.mmap, ...]
    external: tuple[Path, ...] = ()

    def release(self) -> None:
        """Release the pages of the files from memory; a later access reads them again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self.maps:
                mapped.madvise(mmap.MADV_DONTNEED)


def open_onnx(path: Path) -> Mapped:
    """Map an ONNX file and parse all of it but large tensors.

    Raises:
        FormatError: the file cannot be read, or is no ONNX file.
    """
    mapped = map_file(path)
    refuse_impostor(mapped[:HEAD_BYTES], ".onnx")
    buffer = memoryview(mapped)
    large: dict[str, ir.Tensor[np.ndarray]] = {}
    pieces: list[Piece] = []
    for found in walk(buffer, 0, len(buffer)):
        if found.number == _GRAPH and found.kind == LENGTH:
            pieces += length_field(_GRAPH, _graph(buffer, found, large))
        else:
            pieces.append(buffer[found.tag : found.end])
    try:
        proto = onnx.ModelProto.FromString(b"".join(pieces))
    except DecodeError as error:
        raise FormatError("not an ONNX file, or cut short") from error
    _check_text(proto)
    external = map_external(proto, path.parent, INLINE)
    kept = [t for t in proto.graph.initializer if t.name not in external.tensors]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return Mapped(
        proto,
        large | external.tensors,
        (mapped, *external.maps.values()),
        tuple(external.maps),
    )


def _check_text(message: Message) -> None:
    """Raise if a text of a message is not UTF-8: protobuf then returns bytes instead of a str.

    Raises:
        FormatError: names the field.
    """
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for entry in [value] if isinstance(value, str | bytes | Message) else value:
            if isinstance(entry, bytes):
                raise FormatError(f"not a valid ONNX model: '{field.name}' {entry!r} is no UTF-8")
            if isinstance(entry, Message):
                _check_text(entry)


def _graph(
    buffer: memoryview, place: WireField, large: dict[str, ir.Tensor[np.ndarray]]
) -> list[Piece]:
    """Return the parts of a graph without large tensors, which are added to `large`."""
    pieces: list[Piece] = []
    for found in walk(buffer, place.start, place.end):
        if found.number == _INITIALIZER and found.kind == LENGTH:
            tensor = _view(buffer, found) if found.end - found.start > INLINE else None
            if tensor is not None and tensor.name and tensor.name not in large:
                large[tensor.name] = tensor
                continue
        pieces.append(buffer[found.tag : found.end])
    return pieces


def _view(buffer: memoryview, place: WireField) -> ir.Tensor[np.ndarray] | None:
    """Return a tensor as a view of the file; None if it is small or not stored as raw floats."""
    raw = [found for found in walk(buffer, place.start, place.end) if found.number == _RAW_DATA]
    if len(raw) != 1 or raw[0].kind != LENGTH or raw[0].end - raw[0].start <= INLINE:
        return None
    rest = bytes(buffer[place.start : raw[0].tag]) + bytes(buffer[raw[0].end : place.end])
    if len(rest) > INLINE:
        return None
    try:
        head = onnx.TensorProto.FromString(rest)
    except DecodeError as error:
        raise FormatError("not an ONNX file, or cut short") from error
    if head.data_type != onnx.TensorProto.FLOAT or head.data_location:
        return None
    size = raw[0].end - raw[0].start
    if any(dim < 0 for dim in head.dims) or math.prod(head.dims) * 4 != size:
        raise FormatError(f"tensor '{head.name[:80]}' of {list(head.dims)} holds {size} bytes")
    values = np.frombuffer(buffer, "<f4", size // 4, raw[0].start).reshape(tuple(head.dims))
    return ir.Tensor(values, name=head.name)
