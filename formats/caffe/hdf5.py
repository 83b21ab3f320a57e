"""Weights in HDF5 (.caffemodel.h5), converted to a caffemodel. Source: net.cpp `ToHDF5`.

`data/<layer>/<number>` is a blob. Such files are only read: weights are written as a caffemodel.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import FormatError, UnsupportedError
from ...core.ir.network import Piece
from ...core.packed import open_plain
from ...proto.caffe import fields_of, message_class
from ..wire import length_field

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAGIC", "caffemodel_bytes"]

MAGIC = b"\x89HDF"

MOST_PACKED = 1100
"""Largest ratio of the size of the data to that of the file. Deflate reaches 1032."""

_LAYER = fields_of("NetParameter")["layer"].number
_BLOBS = fields_of("LayerParameter")["blobs"].number
_DATA = fields_of("BlobProto")["data"].number


def caffemodel_bytes(path: Path) -> bytes:
    """Return the caffemodel that holds the blobs of an HDF5 file.

    Raises:
        UnsupportedError: h5py is not installed.
        FormatError: the file is broken or holds no blobs.
    """
    try:
        import h5py
    except ImportError:
        raise UnsupportedError(
            "weights in HDF5 need h5py", hint="pip install 'secateur[hdf5]'"
        ) from None
    pieces: list[Piece] = []
    try:
        with open_plain(path) as plain, h5py.File(plain, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise FormatError("an HDF5 file, but no Caffe weights: there is no group 'data'")
            most = MOST_PACKED * plain.seek(0, os.SEEK_END)
            for name, blobs in _layers(h5py, data):
                pieces += _entry(name, [_values(blob, most) for blob in blobs])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        detail = " ".join(str(error).split())
        raise FormatError(f"the HDF5 file cannot be read: {detail}") from error
    if not pieces:
        raise FormatError("the HDF5 file holds no blobs")
    return b"".join(pieces)


def _layers(h5py: Any, data: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield each layer's name and blobs. A name with a slash is a group in a group."""
    found: dict[str, dict[int, Any]] = {}

    def visit(name: str | bytes, item: Any) -> None:
        if isinstance(name, bytes):  # h5py gives bytes if a name is not UTF-8
            raise FormatError("a name in the file is not UTF-8")
        layer, _, number = name.rpartition("/")
        if isinstance(item, h5py.Dataset) and layer and number.isdecimal():
            found.setdefault(layer, {})[int(number)] = item

    data.visititems(visit)
    for name, blobs in found.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise FormatError(f"blobs of layer '{name}' are missing")
        yield name, [blobs[number] for number in sorted(blobs)]


def _values(blob: Any, most: int) -> np.ndarray:
    if not np.issubdtype(blob.dtype, np.floating) or blob.nbytes > most:
        raise FormatError(f"'{blob.name}' is no blob: {blob.dtype} of {blob.shape}")
    return np.ascontiguousarray(blob[()], dtype="<f4")


def _entry(name: str, blobs: list[np.ndarray]) -> list[Piece]:
    layer, blob, shape = map(message_class, ("LayerParameter", "BlobProto", "BlobShape"))
    inner: list[Piece] = [layer(name=name).SerializeToString()]
    for array in blobs:
        head = blob(shape=shape(dim=array.shape)).SerializeToString()
        data = array.reshape(-1).view(np.uint8).data
        inner += length_field(_BLOBS, [head, *length_field(_DATA, [data])])
    return length_field(_LAYER, inner)
