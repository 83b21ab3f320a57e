"""Databases of `Datum` messages in LMDB. Source: db_lmdb.cpp (BVLC 9b89154)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ....core.errors import DataError, located
from .datum import DatumImages

__all__ = ["LmdbData"]


_OPEN: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()
"""The databases that are open: one can be opened only once in a process."""


def _key(path: Path) -> tuple[int, int]:
    """Return what names the file of a database on this machine."""
    state = (path / "data.mdb" if path.is_dir() else path).stat()
    return state.st_dev, state.st_ino


class LmdbData(DatumImages):
    """The images of a database in the order of its keys, with their labels.

    Args:
        path: the folder with `data.mdb`, or that file.
        background: the label of nothing, where images have objects.

    Raises:
        DataError: lmdb is not installed, or the database cannot be read.
    """

    def __init__(self, path: Path, background: int = 0):
        self.path = path
        self._errors: tuple[type[Exception], ...] = ()
        with located(file=str(path)):
            self._database = self._open()
            with self._database.begin() as transaction:
                # Keys are short; values stay in the mapped file.
                keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]
            if not keys:
                raise DataError("the database is empty")
        super().__init__(str(path), keys, background)

    def value(self, index: int) -> bytes:
        """Return the value of a key.

        Raises:
            DataError: it cannot be read.
        """
        try:
            with self._database.begin() as transaction:
                return bytes(transaction.get(self._keys[index]) or b"")
        except self._errors as error:
            raise DataError(f"cannot be read: {error}") from error

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
