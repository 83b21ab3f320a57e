"""Databases of `Datum` messages in LMDB, encoded or raw.

Source: io.cpp, db_lmdb.cpp (BVLC 9b89154).

The pixels of a raw `Datum` are planes, channels × height × width. `convert_imageset` writes them in
the order blue, green, red; other programs may use any order. They are read as they are stored.
"""

from __future__ import annotations

import threading
from copy import copy
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from google.protobuf.message import DecodeError

from ....core.data.base import TargetKind
from ....core.data.images import decode_image
from ....core.data.stream import Sample
from ....core.errors import DataError, Where, located
from ....proto.caffe import message_class

__all__ = ["LmdbData"]


_OPEN: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()
"""The databases that are open: one can be opened only once in a process."""


def _key(path: Path) -> tuple[int, int]:
    """Return what names the file of a database on this machine."""
    state = (path / "data.mdb" if path.is_dir() else path).stat()
    return state.st_dev, state.st_ino


class LmdbData:
    """The images of a database in the order of its keys, with their labels.

    Args:
        path: the folder with `data.mdb`, or that file.

    Raises:
        DataError: lmdb is not installed, or the database cannot be read.
    """

    def __init__(self, path: Path):
        self.target_kind: TargetKind = "label"
        self.name = str(path)
        self.path = path
        self._lock = threading.Lock()
        self._errors: tuple[type[Exception], ...] = ()
        with located(file=self.name):
            self._database = self._open()
            with self._database.begin() as transaction:
                # Keys are short; values stay in the mapped file.
                self._keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]
            if not self._keys:
                raise DataError("the database is empty")

    def __len__(self) -> int:
        return len(self._keys)

    labels_in_memory = False

    def classes_in(self, index: int) -> tuple[int, ...]:
        """Return the label of an image, which is not decoded."""
        where = self.place_of(index)
        with located(file=where.file, item=where.item):
            return (_label(_datum(self._value(index))),)

    def place_of(self, index: int) -> Where:
        """Return the key of an image."""
        key = self._keys[index].decode(errors="replace")
        return Where(file=self.name, item=f"key '{key[:60]}'")

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label."""
        where = self.place_of(index)
        with located(file=where.file, item=where.item):
            datum = _datum(self._value(index))
            label = _label(datum) if self.target_kind else None
            return Sample(image=_image(datum, gray=gray), label=label, where=where)

    def _value(self, index: int) -> bytes:
        try:
            with self._database.begin() as transaction:
                return bytes(transaction.get(self._keys[index]) or b"")
        except self._errors as error:
            raise DataError(f"cannot be read: {error}") from error

    def unlabelled(self) -> LmdbData:
        """Return the images without labels."""
        images = copy(self)
        images.target_kind = ""
        return images

    def _open(self) -> Any:
        try:
            import lmdb
        except ImportError as error:
            raise DataError(
                "reading an LMDB needs the package lmdb", hint="pip install 'secateur[lmdb]'"
            ) from error
        self._errors = (lmdb.Error,)
        known = _OPEN.get(_key(self.path))
        if known is not None:
            return known
        try:
            opened = lmdb.open(
                str(self.path), readonly=True, lock=False, readahead=False, max_readers=64,
                subdir=self.path.is_dir(),
            )  # fmt: skip
        except lmdb.Error as error:
            raise DataError(f"the database cannot be opened: {error}") from error
        _OPEN[_key(self.path)] = opened
        return opened


def _datum(value: bytes) -> Any:
    datum: Any = message_class("Datum")()
    try:
        datum.ParseFromString(value)
    except DecodeError as error:
        raise DataError("the value is no Datum") from error
    return datum


def _label(datum: Any) -> int:
    if datum.label < 0:
        raise DataError(f"the label {datum.label} is negative")
    return int(datum.label)


def _image(datum: Any, *, gray: bool) -> np.ndarray:
    if datum.encoded:
        return decode_image(np.frombuffer(datum.data, np.uint8), gray=gray)
    shape = (datum.channels, datum.height, datum.width)
    size = int(np.prod(shape))
    if not size or datum.channels not in (1, 3):
        raise DataError(f"a Datum of {'×'.join(map(str, shape))} is no image")
    if not datum.data:
        if len(datum.float_data) != size:
            raise DataError("a Datum without pixels")
        raise DataError("a Datum of numbers with a point is not read", hint="use HDF5 or .npz")
    if len(datum.data) != size:
        raise DataError(f"{len(datum.data)} bytes for {'×'.join(map(str, shape))} pixels")
    planes = np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.ascontiguousarray(planes[0] if datum.channels == 1 else planes.transpose(1, 2, 0))
