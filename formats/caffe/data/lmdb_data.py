"""Databases of `Datum` messages in LMDB, encoded or raw.

Source: io.cpp, db_lmdb.cpp (BVLC 9b89154).

The pixels of a raw `Datum` are planes, channels × height × width. `convert_imageset` writes them in
the order blue, green, red; other programs may use any order. They are read as they are stored.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ....core.data.base import TargetKind
from ....core.data.images import decode_image
from ....core.data.stream import Sample
from ....core.errors import DataError, Where, located
from ....proto.caffe import message_class

__all__ = ["LmdbData"]


class LmdbData:
    """The images of a database in the order of its keys, with their labels.

    Args:
        path: the folder with `data.mdb`, or that file.

    Raises:
        DataError: lmdb is not installed, or the database cannot be read.
    """

    target_kind: TargetKind = "label"

    def __init__(self, path: Path):
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

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image and its label."""
        key = self._keys[index]
        where = Where(file=self.name, item=f"key '{key.decode(errors='replace')[:60]}'")
        with located(file=where.file, item=where.item):
            try:
                with self._database.begin() as transaction:
                    value = bytes(transaction.get(key) or b"")
            except self._errors as error:
                raise DataError(f"cannot be read: {error}") from error
            return _sample(value, where, gray=gray)

    def _open(self) -> Any:
        try:
            import lmdb
        except ImportError as error:
            raise DataError(
                "reading an LMDB needs the package lmdb", hint="pip install 'secateur[lmdb]'"
            ) from error
        self._errors = (lmdb.Error,)
        try:
            return lmdb.open(
                str(self.path), readonly=True, lock=False, readahead=False, max_readers=64,
                subdir=self.path.is_dir(),
            )  # fmt: skip
        except lmdb.Error as error:
            raise DataError(f"the database cannot be opened: {error}") from error


def _sample(value: bytes, where: Where, *, gray: bool) -> Sample:
    datum: Any = message_class("Datum")()
    try:
        datum.ParseFromString(value)
    except DecodeError as error:
        raise DataError("the value is no Datum") from error
    if datum.label < 0:
        raise DataError(f"the label {datum.label} is negative")
    if datum.encoded:
        image = decode_image(np.frombuffer(datum.data, np.uint8), gray=gray)
        return Sample(image=image, label=datum.label, where=where)
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
    image = planes[0] if datum.channels == 1 else planes.transpose(1, 2, 0)
    return Sample(image=np.ascontiguousarray(image), label=datum.label, where=where)
