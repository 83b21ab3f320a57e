"""Databases of `Datum` messages in LevelDB, read without its library and without writing to them.

Source: doc/table_format.md, doc/log_format.md and version_edit.cc of google/leveldb; db_leveldb.cpp
(BVLC 9b89154), which takes the usual order of keys. A database is a manifest that names tables of
sorted keys, and a log of what is in no table yet. Checksums are not verified: a broken value is no
`Datum`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ....core.errors import DataError, located
from .datum import DatumImages
from .snappy import decompressed

__all__ = ["LevelData", "is_leveldb"]

CURRENT = "CURRENT"
"""The file that names the manifest."""

LOG_BLOCK = 1 << 15
LOG_HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

FOOTER = 48
MAGIC = 0xDB4775248B80FB57
TRAILER = 5
"""Bytes behind a block: how it is compressed, and a checksum."""

PLAIN, SNAPPY = 0, 1
PUT = 1

COMPARATOR = b"leveldb.BytewiseComparator"


class _Place(NamedTuple):
    """Where a value stands: in a block of a table, or in memory."""

    table: Path
    start: int
    size: int
    compressed: bool
    offset: int
    length: int


@dataclass(slots=True)
class _Entry:
    """The newest that is known of a key."""

    sequence: int
    place: _Place | bytes | None


def is_leveldb(path: Path) -> bool:
    """Whether a folder is a database of this kind."""
    return (path / CURRENT).is_file() and any(path.glob("MANIFEST-*"))


class LevelData(DatumImages):
    """The images of a database in the order of its keys, with their labels.

    Args:
        path: its folder.
        background: the label of nothing, where images have objects.

    Raises:
        DataError: it cannot be read, is broken, or is empty.
    """

    def __init__(self, path: Path, background: int = 0):
        self._lock = threading.Lock()
        self._block: tuple[tuple[Path, int], bytes] | None = None
        with located(file=str(path)):
            try:
                found = _entries(path)
            except (OSError, IndexError) as error:
                reason = getattr(error, "strerror", None) or "it ends early"
                raise DataError(f"the database cannot be read: {reason}") from error
            keys = sorted(key for key, entry in found.items() if entry.place is not None)
            if not keys:
                raise DataError("the database is empty")
        self._places = [place for key in keys if (place := found[key].place) is not None]
        super().__init__(str(path), keys, background)

    def value(self, index: int) -> bytes:
        """Return the value of a key.

        Raises:
            DataError: it cannot be read.
        """
        place = self._places[index]
        if isinstance(place, bytes):
            return place
        try:
            if place.compressed:
                with self._lock:
                    return self._whole(place)[place.offset : place.offset + place.length]
            with place.table.open("rb") as file:
                file.seek(place.start + place.offset)
                return file.read(place.length)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}") from error

    def _whole(self, place: _Place) -> bytes:
        """Return a block that is compressed; the last one is kept."""
        key = (place.table, place.start)
        if self._block is None or self._block[0] != key:
            with place.table.open("rb") as file:
                file.seek(place.start)
                self._block = (key, decompressed(file.read(place.size)))
        return self._block[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_lock": None, "_block": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _entries(folder: Path) -> dict[bytes, _Entry]:
    """Return key → the newest that is known of it."""
    tables, logs = _files(folder)
    found: dict[bytes, _Entry] = {}
    for table in tables:
        with located(file=str(table)):
            for key, place in _table(table):
                _note(found, key[:-8], int.from_bytes(key[-8:], "little"), place)
    for log in logs:
        for record in _records(log.read_bytes()):
            for key, tag, value in _batch(record):
                _note(found, key, tag, value)
    return found


def _note(found: dict[bytes, _Entry], key: bytes, tag: int, place: _Place | bytes | None) -> None:
    """Keep what is newer; the tag of a key holds the number of its change, and what it is."""
    sequence = tag >> 8
    known = found.get(key)
    if known is None or sequence >= known.sequence:
        found[key] = _Entry(sequence, place if tag & 255 == PUT else None)


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the tables and the logs that are in use.

    Raises:
        DataError: the manifest is broken, or names what is not there.
    """
    name = (folder / CURRENT).read_text(encoding="ascii", errors="replace").strip()
    if "/" in name or not name.startswith("MANIFEST-"):
        raise DataError("the database cannot be read: CURRENT names no manifest")
    live: dict[int, None] = {}
    first = previous = 0
    for record in _records((folder / name).read_bytes()):
        reader = _Reader(record)
        while not reader.done:
            tag = reader.number()
            if tag == 1:
                comparator = reader.text()
                if comparator != COMPARATOR:
                    raise DataError("the database has an order of keys of its own")
            elif tag in (2, 3, 4, 9):
                number = reader.number()
                first = number if tag == 2 else first
                previous = number if tag == 9 else previous
            elif tag == 5:
                reader.number()
                reader.text()
            elif tag == 6:
                reader.number()
                live.pop(reader.number(), None)
            elif tag == 7:
                reader.number()
                live[reader.number()] = None
                reader.number()
                reader.text()
                reader.text()
            else:
                raise DataError(f"the database cannot be read: its manifest has a tag {tag}")
    numbered = {int(path.stem): path for path in folder.glob("[0-9]*.log") if path.stem.isdigit()}
    logs = [path for n, path in sorted(numbered.items()) if n >= first or n == previous]
    return [_table_path(folder, number) for number in live], logs


def _table_path(folder: Path, number: int) -> Path:
    for suffix in (".ldb", ".sst"):
        path = folder / f"{number:06}{suffix}"
        if path.is_file():
            return path
    raise DataError(f"the database cannot be read: table {number:06} is not there")


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log; a last one that is cut off is left out, as LevelDB does."""
    parts: list[bytes] = []
    place = 0
    while place + LOG_HEADER <= len(data):
        left = LOG_BLOCK - place % LOG_BLOCK
        if left < LOG_HEADER:
            place += left
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        kind = data[place + 6]
        part = data[place + LOG_HEADER : place + LOG_HEADER + length]
        if not kind or len(part) < length:
            return
        place += LOG_HEADER + length
        parts = [part] if kind in (FULL, FIRST) else [*parts, part]
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def _batch(record: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield key, tag and value of the changes in a record of the log."""
    sequence = int.from_bytes(record[:8], "little")
    reader = _Reader(record, 12)
    while not reader.done:
        kind = reader.byte()
        key = reader.text()
        yield key, sequence << 8 | kind, reader.text() if kind == PUT else b""
        sequence += 1


def _table(path: Path) -> Iterator[tuple[bytes, _Place]]:
    """Yield the keys of a table with the places of their values."""
    data = path.read_bytes()
    if len(data) < FOOTER or int.from_bytes(data[-8:], "little") != MAGIC:
        raise DataError("this is no table of LevelDB")
    footer = _Reader(data[-FOOTER:])
    footer.number()
    footer.number()
    index, _ = _content(data, footer.number(), footer.number())
    for _, handle, length in _walk(index):
        reader = _Reader(index[handle : handle + length])
        start, size = reader.number(), reader.number()
        block, compressed = _content(data, start, size)
        for key, offset, count in _walk(block):
            yield key, _Place(path, start, size, compressed, offset, count)


def _content(data: bytes, start: int, size: int) -> tuple[bytes, bool]:
    """Return a block, and whether it is compressed."""
    if start + size + TRAILER > len(data):
        raise DataError("a block reaches beyond the end of the table")
    block, kind = data[start : start + size], data[start + size]
    if kind not in (PLAIN, SNAPPY):
        raise DataError(f"a block is compressed in a way that is not read ({kind})")
    return (decompressed(block), True) if kind == SNAPPY else (block, False)


def _walk(block: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the keys of a block, with start and length of their values."""
    restarts = int.from_bytes(block[-4:], "little")
    reader = _Reader(block[: max(0, len(block) - 4 - 4 * restarts)])
    key = b""
    while not reader.done:
        shared, rest, length = reader.number(), reader.number(), reader.number()
        key = key[:shared] + reader.take(rest)
        start = reader.place
        reader.skip(length)
        yield key, start, length


class _Reader:
    """Reads numbers and texts one after another."""

    __slots__ = ("_data", "place")

    def __init__(self, data: bytes, place: int = 0):
        self._data = data
        self.place = place

    @property
    def done(self) -> bool:
        """Whether all is read."""
        return self.place >= len(self._data)

    def byte(self) -> int:
        """Return the next byte."""
        self.place += 1
        return self._data[self.place - 1]

    def number(self) -> int:
        """Return the next number of 7 bits a byte."""
        found = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise DataError("a number is too large")

    def text(self) -> bytes:
        """Return the next text with its length before it."""
        return self.take(self.number())

    def take(self, length: int) -> bytes:
        """Return so many bytes."""
        start = self.place
        self.skip(length)
        return self._data[start : self.place]

    def skip(self, length: int) -> None:
        """Leave out so many bytes."""
        self.place += length
        if self.place > len(self._data):
            raise IndexError
