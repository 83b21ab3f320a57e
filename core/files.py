"""Files that are written whole or not at all, and the exclusive lock of a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import DataError, SecateurError, located

__all__ = [
    "LOCK", "alone_in", "folder_aside", "json_bytes", "made_folder", "same_bytes", "swept",
    "write_synced", "write_whole",
]  # fmt: skip

CHUNK = 1 << 22
"""Number of bytes that are compared at once."""

LOCK = ".secateur.lock"
"""Name of the file in a folder whose lock is the folder's."""


def write_whole(
    path: Path, *parts: bytes | memoryview, error: type[SecateurError] = DataError
) -> None:
    """Write a file that is whole or not there, whenever the process or the machine stops.

    The content is written and synced under a temporary name in the same folder, which is then
    renamed. An existing file is replaced.

    Args:
        path: the file; its folder exists.
        parts: its content, written one after another.
        error: type of the error that is raised.

    Raises:
        SecateurError: the file cannot be written, with its path as the place.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _written(path, error):
            write_synced(aside, parts)
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def json_bytes(content: Any) -> bytes:
    """Return plain values as the text of a JSON file."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def write_synced(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file under its own name; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def same_bytes(a: Path, b: Path) -> bool:
    """Return whether two files hold the same bytes; one that is not there is like no other.

    Raises:
        OSError: a file cannot be read.
    """
    if not (a.is_file() and b.is_file()) or a.stat().st_size != b.stat().st_size:
        return False
    with a.open("rb") as first, b.open("rb") as second:
        while part := first.read(CHUNK):
            if part != second.read(CHUNK):
                return False
    return True


def swept(folder: Path) -> None:
    """Make a folder, and take away what a killed run had half written."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob(".*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def made_folder(folder: Path, error: type[SecateurError] = DataError) -> Iterator[None]:
    """Make a folder, and take it away again where nothing came to stand in it.

    Args:
        folder: the folder; those above it are made, too.
        error: type of the error that is raised.

    Raises:
        SecateurError: it cannot be made or written to, with its path as the place.
    """
    new = not folder.exists()
    with located(file=str(folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as cause:
            raise error("is no folder") from cause
        except OSError as cause:
            raise error(f"cannot be made: {cause.strerror or cause}") from cause
        if not os.access(folder, os.W_OK):
            raise error("cannot be written to")
    try:
        yield
    finally:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def folder_aside(
    folder: Path, *, place: Path | None = None, error: type[SecateurError] = DataError
) -> Iterator[Path]:
    """Yield a new folder in a folder, from which files are moved into place; it goes at the end.

    Args:
        folder: the folder, which is made if it is not there.
        place: what is named in messages, if not the folder.
        error: type of the error that is raised.

    Raises:
        SecateurError: something cannot be written.
    """
    with _written(place or folder, error):
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".secateur-", dir=folder))
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _written(place: Path, error: type[SecateurError]) -> Iterator[None]:
    """Turn what the system says into an error of the project that names a place."""
    with located(file=str(place)):
        try:
            yield
        except OSError as cause:
            raise error(f"cannot be written: {cause.strerror or cause}") from cause


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder that exists; a second run is refused at once.

    The lock is held on a file in the folder, so that every process that sees the folder sees the
    lock. The file is removed at the end. The system releases the lock of a killed process; its file
    stays, and the next run takes it over. If no lock can be had (a file system without locks, a
    folder that cannot be written to), the run goes on without one.

    Raises:
        DataError: another run holds the lock.
    """
    path: Path | None = folder / LOCK
    # A file system without locks must not get a "soft" lock, which outlives a killed process.
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        with located(file=str(folder)):
            raise DataError(
                "another run is at work in this folder",
                hint="wait for it, or give another folder",
            ) from error
    except PermissionError:
        path = None  # if there is a file, it is not this run's to remove
    except OSError:
        pass  # the file may have been made before the lock was refused
    try:
        yield
    finally:
        # While the lock is still held: a run that has opened the file meanwhile locks a file
        # without a name, which filelock notices. On Windows it is the release that removes it.
        if path is not None:
            with suppress(OSError):
                path.unlink()
        lock.release()
