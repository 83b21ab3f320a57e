"""Digests of what steps depend on: files, data, options.

A digest is one of contents. Reading all of a large set of images takes minutes, so a digest is
remembered with the names, sizes and times of its files, and is taken again when one of these is
another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ...core.data import Dataset
from ...core.data.naming import is_made
from ...core.errors import DataError, located
from ...core.files import json_bytes, write_whole

__all__ = ["DIGESTS", "FiledSource", "Inputs", "digest_of", "files_of", "plain_options"]

DIGESTS = "digests.json"
"""Name of the file with what is remembered, in the folder of a pipeline."""

CHUNK = 1 << 20

SETTLED = 2 * 10**9
"""Nanoseconds that a file must not have changed for, before its time is trusted: within a tick of
the file system's clock it could change again unseen."""

UNCHANGING = frozenset({"checkpoint", "device", "jobs", "memory", "threads"})
"""Options that do not change what a step comes to, but for rounding."""


@runtime_checkable
class FiledSource(Protocol):
    """A source of samples that knows which files each of them is read from."""

    def __len__(self) -> int:
        """Return how many samples there are."""
        ...

    def files_of(self, index: int) -> Sequence[Path]:
        """Return the files of a sample; some may not exist."""
        ...


@runtime_checkable
class FiledArrays(Protocol):
    """A dataset that knows which files it is read from."""

    @property
    def files(self) -> Sequence[Path]:
        """The files."""
        ...


def files_of(path: Path, dataset: Dataset) -> Iterator[Path]:
    """Yield the files that a dataset reads: what its path leads to, and those of its samples.

    Args:
        path: what the dataset was opened by.
        dataset: it.
    """
    if is_made(path):
        return
    source = getattr(dataset, "source", dataset)
    if isinstance(source, FiledArrays):
        yield from dict.fromkeys([path, *source.files])
        return
    if not isinstance(source, FiledSource):
        yield from _below(path)
        return
    if path.is_file():
        yield path
    for index in range(min(len(source), dataset.samples)):
        yield from source.files_of(index)


def _below(path: Path) -> Iterator[Path]:
    """Yield a file, or the files in a folder and its subfolders, without hidden ones, sorted."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            # The locks of databases change when they are read.
            if not name.startswith(".") and name not in ("lock.mdb", "LOCK", "LOG", "LOG.old"):
                yield Path(folder, name)


class Inputs:
    """Digests of files, remembered from run to run.

    Args:
        memory: the file that remembers; None to remember nothing.
    """

    def __init__(self, memory: Path | None = None):
        self._memory = memory
        self._known = _remembered(memory) if memory is not None else {}
        self._found: dict[str, str] = {}

    def of_files(self, paths: Iterable[Path], base: Path) -> str:
        """Return the digest of some files: of their contents, and of their names below a folder.

        Args:
            paths: them; each counts once.
            base: the folder. Files elsewhere count by their names alone.

        Raises:
            DataError: one cannot be read.
        """
        listing = hashlib.sha256()
        found: list[tuple[str, Path]] = []
        newest = 0
        for path in dict.fromkeys(paths):
            name = _name(path, base)
            try:
                status = path.stat()
            except OSError:
                listing.update(f"{name}\0missing\n".encode())
                continue
            newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
            text = f"{name}\0{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}"
            listing.update(f"{text}\0{status.st_ctime_ns}\0{status.st_ino}\n".encode())
            found.append((name, path))
        key = listing.hexdigest()
        if key not in self._found:
            began = time.time_ns()
            self._found[key] = self._known.get(key) or _contents(found)
            if self._memory is not None and key not in self._known and newest < began - SETTLED:
                self._known[key] = self._found[key]
        return self._found[key]

    def remember(self) -> None:
        """Write what is known for the next run. Digests that nothing asked for are forgotten."""
        if self._memory is None:
            return
        kept = {key: value for key, value in self._known.items() if key in self._found}
        write_whole(self._memory, json_bytes(kept))


def _remembered(path: Path) -> dict[str, str]:
    """Return what an earlier run knew; nothing where the file is not there or broken."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _name(path: Path, base: Path) -> str:
    absolute, folder = path.absolute(), base.absolute()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else path.name


def _contents(files: Sequence[tuple[str, Path]]) -> str:
    """Return the digest of names and contents.

    Raises:
        DataError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for name, path in files:
        with located(file=str(path)):
            try:
                whole.update(f"{name}\0{_of_file(path)}\n".encode())
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror or error}") from error
    return whole.hexdigest()


def _of_file(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            state.update(part)
    return state.hexdigest()


def digest_of(content: Any) -> str:
    """Return the digest of plain values."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain_options(options: Any) -> dict[str, Any]:
    """Return an option dataclass as plain values, without what does not change a result.

    Paths stand by their names; what their files hold is an input of its own.
    """
    return {
        option.name: _plain(getattr(options, option.name))
        for option in dataclasses.fields(options)
        if option.name not in UNCHANGING
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if hasattr(value, "to_yaml"):
        return value.to_yaml()
    if isinstance(getattr(value, "digest", None), str):
        return value.digest
    if hasattr(value, "recorded"):
        return _plain(value.recorded())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(value):
        return plain_options(value)
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    return str(value)
