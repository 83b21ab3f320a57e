"""The lossless caffemodel: layers and blobs as spans over the mapped file.

Reading copies no weights: packed float data is a view of the file. Writing encodes only changed
blobs and fields, and copies all other bytes of the file.
Source: caffe.proto (NetParameter, LayerParameter, BlobProto), blob.cpp `Blob::FromProto`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import FormatError, Where, located
from ...core.ir.network import Piece
from ...core.packed import map_file
from ...proto.caffe import fields_of, message_class
from ..impostors import refuse_impostor
from ..registry import HEAD_BYTES, is_text
from ..wire import (
    DOUBLE,
    FLOAT,
    LENGTH,
    VARINT,
    WireField,
    bad,
    length_field,
    varint_field,
    walk,
    walk_varints,
)
from .hdf5 import MAGIC, caffemodel_bytes

__all__ = ["Caffemodel", "LayerChange", "StoredBlob", "StoredLayer", "open_caffemodel"]

_LAYER = fields_of("NetParameter")["layer"].number
_V1_LAYER = fields_of("NetParameter")["layers"].number
_BLOB = {name: info.number for name, info in fields_of("BlobProto").items()}
_LEGACY = tuple(_BLOB[name] for name in ("num", "channels", "height", "width"))
_GRADIENTS = {_BLOB[name] for name in ("diff", "double_diff", "raw_diff", "raw_diff_type")}
_RAW_TYPES: dict[int, np.dtype[np.floating[Any]]] = {
    0: np.dtype("<f8"),
    1: np.dtype("<f4"),
    2: np.dtype("<f2"),
}
_INTEGERS = (3, 4)
"""Types of raw_data that are integers. Source: NVIDIA's caffe.proto, enum Type: INT, UINT."""

QUANTISED_HINT = "prune the network before it is quantised: give the files with float weights"

_DATA: dict[int, np.dtype[np.floating[Any]]] = {
    _BLOB["data"]: np.dtype("<f4"),
    _BLOB["double_data"]: np.dtype("<f8"),
}
MAX_DIM = 2**31 - 1
"""Largest dim: Caffe counts in int32 and truncates larger dims silently; here they are refused."""

MAX_AXES = 32
"""Largest number of axes of a blob (blob.hpp kMaxBlobAxes)."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Adjacent values from offset `start` on, each after `skip` bytes of tag."""

    start: int
    count: int
    dtype: np.dtype[np.floating[Any]]
    skip: int = 0


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A BlobProto: its place in the file, its dims as written, and the place of its values."""

    tag: int
    start: int
    end: int
    shape: tuple[int, ...]
    legacy: bool
    """Whether the four dims are num, channels, height and width."""
    data_field: int
    runs: tuple[_Run, ...]

    @property
    def size(self) -> int:
        """Number of values stored."""
        return sum(run.count for run in self.runs)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether Caffe would accept this blob for a parameter of `shape` (Blob::ShapeEquals)."""
        if self.legacy:
            return len(shape) <= 4 and (1,) * (4 - len(shape)) + shape == self.shape
        return shape == self.shape

    def fits_but_for_ones(self, shape: tuple[int, ...]) -> bool:
        """Whether the shape of this blob differs from `shape` only in axes of size 1.

        Caffe refuses such a blob; OpenCV reads it.
        """
        own, wanted = ([size for size in sizes if size != 1] for sizes in (self.shape, shape))
        return own == wanted


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """An entry of a layer. `version` is 2 (layer), 1 (layers) or 0 (layers with a nested layer)."""

    name: str
    version: int
    entry: WireField
    inner: WireField | None
    """The nested V0 layer that holds the blobs; None for other versions."""
    blobs: tuple[StoredBlob, ...]
    typed: bool = True
    """Whether the entry has a type: some files hold only names and blobs."""

    @property
    def schema(self) -> str:
        """Name of the message type that holds the name and the blobs."""
        return ("V0LayerParameter", "V1LayerParameter", "LayerParameter")[self.version]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerChange:
    """The changes of one layer entry.

    Args:
        blobs: position → new values in file shape.
        fields: path ("convolution_param", "num_output") → the new numbers of the field.
    """

    blobs: Mapping[int, np.ndarray] = field(default_factory=dict)
    fields: Mapping[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Caffemodel:
    """The mapped file and its layers, in file order."""

    path: Path
    buffer: memoryview
    layers: tuple[StoredLayer, ...]

    def __bytes__(self) -> bytes:
        return bytes(self.buffer)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.path, bytes(self.buffer), self.layers)

    def values(self, blob: StoredBlob) -> np.ndarray:
        """Return the values of a blob as float32, flat; a view of the file where possible."""
        parts = [self._part(run) for run in blob.runs] or [np.empty(0, np.float32)]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite, as in Caffe
            return joined.astype(np.float32, copy=False)

    def _part(self, run: _Run) -> np.ndarray:
        if not run.skip:
            return np.frombuffer(self.buffer, run.dtype, run.count, run.start)
        step = run.skip + run.dtype.itemsize
        rows = np.frombuffer(self.buffer, np.uint8, run.count * step, run.start)
        values = np.ascontiguousarray(rows.reshape(run.count, step)[:, run.skip :])
        return values.view(run.dtype).reshape(run.count)

    def replace(self, changes: Mapping[int, LayerChange]) -> bytes:
        """Return the file with changes of layers, by their position; all other bytes stay."""
        return b"".join(self.pieces(changes))

    def pieces(self, changes: Mapping[int, LayerChange]) -> list[Piece]:
        """Return the result of :meth:`replace` in parts; unchanged parts are views of the file."""
        edits: dict[int, list[Piece]] = {}
        for index, change in changes.items():
            layer = self.layers[index]
            content = layer.inner or layer.entry
            pieces = self._changed_layer(layer, content, change)
            if layer.inner is not None:
                nested = {layer.inner.tag: length_field(layer.inner.number, pieces)}
                pieces = _rewrite(self.buffer, layer.entry.start, layer.entry.end, nested)
            edits[layer.entry.tag] = length_field(layer.entry.number, pieces)
        return _rewrite(self.buffer, 0, len(self.buffer), edits)

    def without_layers(
        self, names: Collection[str], reads: Mapping[int, Mapping[str, str]]
    ) -> list[Piece]:
        """Return the file without the entries of some layers, as its parts.

        Args:
            names: of the layers.
            reads: position of another entry → name of a blob that it reads → of the one it reads
                now.
        """
        edits: dict[int, list[Piece]] = {}
        for index, layer in enumerate(self.layers):
            place = layer.entry
            if layer.name in names:
                edits[place.tag] = []
                continue
            if layer.inner is not None or index not in reads:
                continue
            number = fields_of(layer.schema)["bottom"].number
            named = {old.encode(): new.encode() for old, new in reads[index].items()}
            renamed: dict[int, list[Piece]] = {
                found.tag: length_field(number, [named[old]])
                for found in walk(self.buffer, place.start, place.end)
                if found.number == number
                and found.kind == LENGTH
                and (old := bytes(self.buffer[found.start : found.end])) in named
            }
            pieces = _rewrite(self.buffer, place.start, place.end, renamed)
            edits[place.tag] = length_field(place.number, pieces)
        return _rewrite(self.buffer, 0, len(self.buffer), edits)

    def without_blobs(self) -> bytes:
        """Return the file without its weights: the definition of a net, if it holds one."""
        edits: dict[int, list[Piece]] = {}
        for layer in self.layers:
            content = layer.inner or layer.entry
            dropped: dict[int, list[Piece]] = {blob.tag: [] for blob in layer.blobs}
            pieces = _rewrite(self.buffer, content.start, content.end, dropped)
            if layer.inner is not None:
                nested = {layer.inner.tag: length_field(layer.inner.number, pieces)}
                pieces = _rewrite(self.buffer, layer.entry.start, layer.entry.end, nested)
            edits[layer.entry.tag] = length_field(layer.entry.number, pieces)
        return b"".join(_rewrite(self.buffer, 0, len(self.buffer), edits))

    def _changed_layer(
        self, layer: StoredLayer, content: WireField, change: LayerChange
    ) -> list[Piece]:
        """Return the content of a layer with changed blobs and fields."""
        number = fields_of(layer.schema)["blobs"].number
        edits = {
            (blob := layer.blobs[i]).tag: length_field(
                number, _changed_blob(self.buffer, blob, array)
            )
            for i, array in change.blobs.items()
        }
        by_message: dict[str, dict[int, tuple[int, ...]]] = {}
        appended: list[Piece] = []
        for path, numbers in change.fields.items():
            outer, name = ("", path[0]) if len(path) == 1 else path
            if outer and outer not in fields_of(layer.schema):
                continue
            holder = fields_of(layer.schema)[outer].type if outer else layer.schema
            by_message.setdefault(outer, {})[fields_of(holder)[name].number] = numbers
        for outer, values in by_message.items():
            if not outer:
                more, tail = _varint_edits(self.buffer, content.start, content.end, values)
                edits.update(more)
                appended += tail
                continue
            wanted = fields_of(layer.schema)[outer].number
            absent = layer.typed
            for found in walk(self.buffer, content.start, content.end):
                if found.number == wanted and found.kind == LENGTH:
                    more, tail = _varint_edits(self.buffer, found.start, found.end, values)
                    inside = _rewrite(self.buffer, found.start, found.end, more)
                    edits[found.tag] = length_field(wanted, [*inside, *tail])
                    absent = False
            if absent:
                _, tail = _varint_edits(self.buffer, 0, 0, values)
                appended += length_field(wanted, tail)
        return [*_rewrite(self.buffer, content.start, content.end, edits), *appended]


def _rewrite(
    buffer: memoryview, start: int, end: int, edits: Mapping[int, list[Piece]]
) -> list[Piece]:
    """Return `buffer[start:end]` in pieces, with the fields at the given tags replaced."""
    pieces: list[Piece] = []
    done = start
    for found in walk(buffer, start, end) if edits else ():
        if found.tag in edits:
            pieces += [buffer[done : found.tag], *edits[found.tag]]
            done = found.end
    return [*pieces, buffer[done:end]]


def _varint_edits(
    buffer: memoryview, start: int, end: int, values: Mapping[int, tuple[int, ...]]
) -> tuple[dict[int, list[Piece]], list[Piece]]:
    """Return edits that give fields their `values`, and the pieces to append for absent fields."""
    edits: dict[int, list[Piece]] = {}
    left = {
        number: [varint_field(number, value) for value in numbers]
        for number, numbers in values.items()
    }
    for found in walk(buffer, start, end):
        if found.number in values:
            edits[found.tag] = list(left.pop(found.number, []))
    return edits, [piece for pieces in left.values() for piece in pieces]


def _changed_blob(buffer: memoryview, blob: StoredBlob, array: np.ndarray) -> list[Piece]:
    """Return the content of a blob with other dims and values, and no gradients."""
    if blob.legacy:
        dims = (1,) * (4 - array.ndim) + array.shape
        shape = [varint_field(number, dim) for number, dim in zip(_LEGACY, dims, strict=True)]
    else:
        message = message_class("BlobShape")(dim=array.shape).SerializeToString()
        shape = length_field(_BLOB["shape"], [message])  # type: ignore[assignment]
    dtype = blob.runs[0].dtype if blob.runs else np.dtype("<f4")
    data = np.ascontiguousarray(array, dtype=dtype)
    new = length_field(blob.data_field, [data.reshape(-1).view(np.uint8).data])
    dropped = {*_LEGACY, _BLOB["shape"], *_GRADIENTS, blob.data_field}
    edits: dict[int, list[Piece]] = {}
    shape_left, data_left = list[Piece](shape), new
    for found in walk(buffer, blob.start, blob.end):
        if found.number not in dropped:
            continue
        edits[found.tag] = []
        if found.number == blob.data_field:
            edits[found.tag], data_left = data_left, []
        elif found.number not in _GRADIENTS:
            edits[found.tag], shape_left = shape_left, []
    return [*_rewrite(buffer, blob.start, blob.end, edits), *data_left]


def _unpickled(path: Path, data: bytes, layers: tuple[StoredLayer, ...]) -> Caffemodel:
    return Caffemodel(path, memoryview(data), layers)


def open_caffemodel(path: Path) -> Caffemodel:
    """Map a caffemodel and find its layers and blobs. An HDF5 file is converted first.

    Raises:
        FormatError: the file is no caffemodel, is cut short or contradicts itself; names the
            offset.
    """
    with located(file=str(path)):
        buffer = _map(path)
        if bytes(buffer[: len(MAGIC)]) == MAGIC:
            buffer = memoryview(caffemodel_bytes(path))
        else:
            _refuse_text(bytes(buffer[:HEAD_BYTES]))
            refuse_impostor(bytes(buffer[:HEAD_BYTES]), ".caffemodel")
        layers = []
        for found in walk(buffer, 0, len(buffer)):
            if found.number in (_LAYER, _V1_LAYER):
                if found.kind != LENGTH:
                    raise bad("not a caffemodel: a layer is no message", found.tag)
                layers.append(_layer(buffer, found))
        if not layers:
            raise FormatError("not a caffemodel: there is no layer in it", where=Where(offset=0))
    return Caffemodel(path, buffer, tuple(layers))


_TEXT_BLOB = re.compile(rb"\bblobs\s*:?\s*\{")
"""How weights begin in the text form of a message."""


def _refuse_text(head: bytes) -> None:
    """Raise if weights are written in the text form of the message.

    Raises:
        FormatError: they are.
    """
    if is_text(head) and _TEXT_BLOB.search(head):
        raise FormatError(
            "these weights are written as text, and a .caffemodel is binary",
            hint="with Caffe's Python: open(out, 'wb').write("
            "text_format.Parse(text, caffe_pb2.NetParameter()).SerializeToString())",
        )


def _map(path: Path) -> memoryview:
    if path.is_dir():
        raise FormatError("this is a directory, not a caffemodel")
    if path.is_file() and path.stat().st_size == 0:
        raise FormatError("the file is empty: every weight is missing")
    return memoryview(map_file(path))


def _layer(buffer: memoryview, entry: WireField) -> StoredLayer:
    """Return the layer of an entry of any version."""
    if entry.number == _LAYER:
        return _entry(buffer, entry, None, 2)
    for found in walk(buffer, entry.start, entry.end):
        if found.number == fields_of("V1LayerParameter")["layer"].number and found.kind == LENGTH:
            return _entry(buffer, entry, found, 0)
    return _entry(buffer, entry, None, 1)


def _entry(
    buffer: memoryview, entry: WireField, inner: WireField | None, version: int
) -> StoredLayer:
    """Return the layer of an entry; `inner` is its nested V0 layer."""
    schema = fields_of(("V0LayerParameter", "V1LayerParameter", "LayerParameter")[version])
    content = inner or entry
    name, typed = "", False
    blobs: list[WireField] = []
    for found in walk(buffer, content.start, content.end):
        if found.number == schema["name"].number and found.kind == LENGTH:
            raw = bytes(buffer[found.start : found.end])
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                name = raw.decode("latin-1")
        elif found.number == schema["type"].number:
            typed = True
        elif found.number == schema["blobs"].number:
            if found.kind != LENGTH:
                raise bad("a blob is no message", found.tag)
            blobs.append(found)
    with located(item=f"layer '{name}'"):
        read = tuple(_blob(buffer, blob) for blob in blobs)
    return StoredLayer(name, version, entry, inner, read, typed)


def _blob(buffer: memoryview, place: WireField) -> StoredBlob:
    """Return a blob by its field.

    Raises:
        FormatError: its values are not as many as its dims say, or cannot be read.
    """
    dims: list[int] = []
    legacy: dict[int, int] = {}
    floats: dict[int, list[_Run]] = {number: [] for number in _DATA}
    raw: WireField | None = None
    raw_type = 1
    others: list[int] = []
    for found in walk(buffer, place.start, place.end):
        if found.number in _LEGACY and found.kind == VARINT:
            legacy[found.number] = _dim(found.value, found.tag)
        elif found.number == _BLOB["shape"] and found.kind == LENGTH:
            dims += _dims(buffer, found)
        elif found.number in _DATA:
            floats[found.number].append(_run_of(found, _DATA[found.number]))
        elif found.number == _BLOB["raw_data"] and found.kind == LENGTH:
            raw = found
        elif found.number == _BLOB["raw_data_type"] and found.kind == VARINT:
            raw_type = found.value
        elif found.kind == LENGTH and found.number not in _BLOB.values():
            others.append(found.end - found.start)
    shape = tuple(legacy.get(number, 0) for number in _LEGACY) if legacy else tuple(dims)
    data_field = _BLOB["double_data"] if floats[_BLOB["double_data"]] else _BLOB["data"]
    runs = floats[data_field]
    if raw is not None and not runs:
        dtype = _RAW_TYPES.get(raw_type)
        if dtype is None:
            if raw_type in _INTEGERS:
                raise _quantised(raw.tag)
            raise bad(f"raw_data of type {raw_type} cannot be read", raw.tag)
        data_field, runs = _BLOB["raw_data"], [_packed(raw, dtype)]
    blob = StoredBlob(
        place.tag, place.start, place.end, shape, bool(legacy), data_field, tuple(runs)
    )
    claimed = math.prod(shape)
    if blob.size != claimed:
        if not blob.size and claimed in others:  # a byte a value, in a field of a fork
            raise _quantised(place.tag)
        shown = "×".join(map(str, shape)) or "no dims"
        raise bad(f"a blob of {shown} needs {claimed} values, {blob.size} are stored", place.tag)
    return blob


def _quantised(offset: int) -> FormatError:
    """Return the error for a blob of integers."""
    return bad("the blob holds integers: the network is quantised", offset, QUANTISED_HINT)


def _dims(buffer: memoryview, place: WireField) -> list[int]:
    """Return the dims of a BlobShape."""
    dims: list[int] = []
    for found in walk(buffer, place.start, place.end):
        if found.number == 1 and found.kind == VARINT:
            dims.append(_dim(found.value, found.tag))
        elif found.number == 1 and found.kind == LENGTH:
            values = walk_varints(buffer, found.start, found.end)
            dims += [_dim(value, found.tag) for value in values]
        if len(dims) > MAX_AXES:
            raise bad(f"a blob has more than {MAX_AXES} dims", place.tag)
    return dims


def _dim(value: int, offset: int) -> int:
    if value > MAX_DIM:
        raise bad(f"a blob claims a dim of {value}", offset)
    return value


def _run_of(found: WireField, dtype: np.dtype[np.floating[Any]]) -> _Run:
    if found.kind == LENGTH:
        return _packed(found, dtype)
    if found.kind != (FLOAT if dtype.itemsize == 4 else DOUBLE):
        raise bad("blob data is of another wire type", found.tag)
    return _Run(found.tag, found.count, dtype, found.start - found.tag)


def _packed(found: WireField, dtype: np.dtype[np.floating[Any]]) -> _Run:
    size = found.end - found.start
    if size % dtype.itemsize:
        raise bad(f"{size} bytes of data are no whole number of values", found.tag)
    return _Run(found.start, size // dtype.itemsize, dtype)
