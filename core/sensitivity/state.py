"""The points that are measured already, on disk, so that a killed analysis goes on where it was.

The file holds one JSON object a line: first the digest of network, data and settings, then one
point a line. A line is appended and synced to the disk at once, so that only the last one can be
half-written; such a line is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..errors import DataError, located

__all__ = ["STATE_FILE", "Known", "State", "place_of"]

STATE_FILE = "state.jsonl"
"""Name of the state in the folder of an analysis."""

VERSION = 1


@dataclass(frozen=True, slots=True)
class Known:
    """A measured loss, or the least it can be."""

    loss: float
    at_least: bool


@dataclass(slots=True)
class State:
    """Measured points by group and number of removed channels; on disk where there is a file."""

    points: dict[tuple[str, int], Known] = field(default_factory=dict)
    _path: Path | None = None
    _file: IO[bytes] | None = None

    @classmethod
    def open(cls, path: Path | None, digest: str, *, restart: bool = False) -> State:
        """Read what is known, and get ready to add to it.

        Args:
            path: the file; None to keep points in memory only.
            digest: of network, data and settings.
            restart: forget what is there.

        Raises:
            DataError: the file belongs to another network, data or setting, is broken, or cannot be
                written.
        """
        if path is None:
            return cls()
        _check_place(path)
        with located(file=str(path)):
            try:
                text = path.read_bytes() if path.exists() and not restart else b""
                whole = text[: text.rfind(b"\n") + 1]
                points = _read(whole, digest)
                file = path.open("r+b" if path.exists() else "x+b")
                file.truncate(len(whole))
                file.seek(0, os.SEEK_END)
            except OSError as error:
                raise DataError(f"cannot be used: {error.strerror or error}") from error
            state = cls(points, path, file)
            if not whole:
                state._append({"version": VERSION, "digest": digest})
            return state

    def add(self, group: str, removed: int, known: Known) -> None:
        """Remember a point; it is on disk when this returns."""
        self.points[group, removed] = known
        entry: dict[str, Any] = {"group": group, "removed": removed, "loss": known.loss}
        if known.at_least:
            entry["at_least"] = True
        self._append(entry)

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with located(file=str(self._path)):
                raise DataError(f"cannot be written: {error.strerror or error}") from error


@contextmanager
def place_of(path: Path) -> Iterator[None]:
    """Make the folder of a state; where what follows fails, it goes again if it is still empty.

    Raises:
        DataError: the state cannot be there.
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
    """Make the folder of a state, so that it fails now and not after the first measurements.

    Raises:
        DataError: the state cannot be there.
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


def _read(text: bytes, digest: str) -> dict[tuple[str, int], Known]:
    points = {}
    for number, line in enumerate(text.splitlines(), 1):
        with located(line=number):
            try:
                entry = json.loads(line)
                if number == 1:
                    _check(entry["version"], entry["digest"], digest)
                else:
                    known = Known(float(entry["loss"]), bool(entry.get("at_least")))
                    points[str(entry["group"]), int(entry["removed"])] = known
            except (ValueError, KeyError, TypeError) as error:
                raise DataError("broken", hint="--restart starts anew") from error
    return points


def _check(version: Any, found: Any, digest: str) -> None:
    if version != VERSION or found != digest:
        raise DataError(
            "belongs to another model, other data or other settings",
            hint="give another folder, or --restart to start anew",
        )
