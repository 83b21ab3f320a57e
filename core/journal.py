"""A file of finished work, one JSON object a line, so that a killed run goes on where it was.

The first line holds the digest of what all the work depends on. A line is appended and synced to
the disk at once, so that only the last one can be half-written; such a line is cut off when the
file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import DataError, located

__all__ = ["Journal", "place_of"]

VERSION = 1


@dataclass(slots=True)
class Journal:
    """A journal; on disk where there is a file, and else nowhere."""

    _path: Path | None = None
    _file: IO[bytes] | None = None

    @classmethod
    def open(
        cls,
        path: Path | None,
        digest: str,
        take: Callable[[Mapping[str, Any]], None],
        *,
        restart: bool = False,
    ) -> Journal:
        """Read what is there, and get ready to add to it.

        Args:
            path: the file; None to keep nothing.
            digest: of all that the work depends on.
            take: called with every entry; raises ValueError, KeyError or TypeError where it is
                none.
            restart: forget what is there.

        Raises:
            DataError: the file belongs to something else, is broken, or cannot be written.
        """
        if path is None:
            return cls()
        _check_place(path)
        with located(file=str(path)):
            try:
                text = path.read_bytes() if path.exists() and not restart else b""
                whole = text[: text.rfind(b"\n") + 1]
                _read(whole, digest, take)
                file = path.open("r+b" if path.exists() else "x+b")
                file.truncate(len(whole))
                file.seek(0, os.SEEK_END)
            except OSError as error:
                raise DataError(f"cannot be used: {error.strerror or error}") from error
            journal = cls(path, file)
            if not whole:
                journal.add({"version": VERSION, "digest": digest})
            return journal

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; it is on disk when this returns.

        Raises:
            DataError: it cannot be written.
        """
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with located(file=str(self._path)):
                raise DataError(f"cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


@contextmanager
def place_of(path: Path) -> Iterator[None]:
    """Make the folder of a journal; where what follows fails, it goes again if it is still empty.

    Raises:
        DataError: the journal cannot be there.
    """
    new = not path.parent.exists()
    _check_place(path)
    try:
        yield
    except BaseException:
        if new and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
        raise


def _check_place(path: Path) -> None:
    """Make the folder of a journal, so that it fails now and not after the first measurements.

    Raises:
        DataError: the journal cannot be there.
    """
    with located(file=str(path.parent)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise DataError("is no folder") from error
        except OSError as error:
            raise DataError(f"cannot be made: {error.strerror or error}") from error
        if not os.access(path.parent, os.W_OK):
            raise DataError("cannot be written to")
    if path.exists() and not path.is_file():
        with located(file=str(path)):
            raise DataError("is no plain file")


def _read(text: bytes, digest: str, take: Callable[[Mapping[str, Any]], None]) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        with located(line=number):
            try:
                entry = json.loads(line)
                if number == 1:
                    _check(entry["version"], entry["digest"], digest)
                else:
                    take(entry)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError("broken", hint="--restart starts anew") from error


def _check(version: Any, found: Any, digest: str) -> None:
    if version != VERSION or found != digest:
        raise DataError(
            "belongs to another model, other data or other settings",
            hint="give another folder, or --restart to start anew",
        )
