"""Writing small LevelDB databases: all values stand in the log, as after a first run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["write_leveldb"]

BLOCK, HEADER = 1 << 15, 7


def write_leveldb(folder: Path, rows: Iterable[tuple[bytes, bytes]]) -> Path:
    """Write keys and values, and return the folder. Source: doc/log_format.md."""
    folder.mkdir()
    rows = list(rows)
    batch = (1).to_bytes(8, "little") + len(rows).to_bytes(4, "little")
    batch += b"".join(b"\x01" + _text(key) + _text(value) for key, value in rows)
    (folder / "000003.log").write_bytes(_log(batch))
    edit = b"\x01" + _text(b"leveldb.BytewiseComparator") + b"\x02\x03\x09\x00\x03\x04\x04\x00"
    (folder / "MANIFEST-000002").write_bytes(_log(edit))
    (folder / "CURRENT").write_bytes(b"MANIFEST-000002\n")
    return folder


def _text(data: bytes) -> bytes:
    length, out = len(data), b""
    while length > 127:
        out, length = out + bytes([length & 127 | 128]), length >> 7
    return out + bytes([length]) + data


def _log(record: bytes) -> bytes:
    out, first = b"", True
    while True:
        left = BLOCK - len(out) % BLOCK
        if left < HEADER:
            out += bytes(left)
            continue
        part, record = record[: left - HEADER], record[left - HEADER :]
        kind = (1 if first else 4) if not record else (2 if first else 3)
        out += bytes(4) + len(part).to_bytes(2, "little") + bytes([kind]) + part
        first = False
        if not record:
            return out
