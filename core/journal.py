"""A file of finished work, one JSON object a line, so that a killed run goes on where it was.

The first line holds the digest of what all the work depends on. A line is appended and synced to
the disk at once, so that only the last one can be half-written; such a line is cut off when the
file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import DataError, located

__all__ = ["Journal", "check_plain"]

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
            path: the file, in a folder that exists; None to keep nothing.
            digest: of all that the work depends on.
            take: called with every entry; raises ValueError, KeyError or TypeError where it is
                none.
            restart: forget what is there.

        Raises:
            DataError: the file belongs to something else, is broken, or cannot be written.
        """
        if path is None:
            return cls()
        check_plain(path)
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


def check_plain(path: Path) -> None:
    """Raise where something that is no file is in the place of a journal, before the work begins.

    Raises:
        DataError: names it.
    """
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
