"""Decompressing Snappy's raw format.

Source: format_description.txt of google/snappy: a length, then literals and copies of what was
written before.
"""

from __future__ import annotations

from ....core.errors import DataError

__all__ = ["decompressed"]


def decompressed(data: bytes) -> bytes:
    """Return what was compressed.

    Memory is taken for what is there, not for the length that the data claims.

    Raises:
        DataError: the data is broken.
    """
    try:
        length, place = _varint(data)
        out = bytearray()
        while place < len(data):
            place = _element(data, place, out)
            if len(out) > length:
                break
    except IndexError as error:
        raise DataError("the compressed data ends early") from error
    if len(out) != length:
        raise DataError(f"{len(out)} bytes were compressed, not {length}")
    return bytes(out)


def _varint(data: bytes) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and where it ends."""
    number = 0
    for place in range(5):
        number |= (data[place] & 127) << (7 * place)
        if data[place] < 128:
            return number, place + 1
    raise DataError("the length of compressed data is too large")


def _element(data: bytes, place: int, out: bytearray) -> int:
    """Add what an element stands for, and return where the next one begins."""
    tag, place = data[place], place + 1
    kind, size = tag & 3, tag >> 2
    if kind == 0:
        if size >= 60:
            extra = size - 59
            size, place = _little(data, place, extra), place + extra
        end = place + size + 1
        if end > len(data):
            raise IndexError
        out += data[place:end]
        return end
    if kind == 1:
        offset = (tag >> 5) << 8 | data[place]
        count, place = (size & 7) + 4, place + 1
    else:
        width = 2 if kind == 2 else 4
        offset, count, place = _little(data, place, width), size + 1, place + width
    start = len(out) - offset
    if start < 0 or not offset:
        raise DataError("compressed data refers to what was not there")
    while count > 0:  # a copy may read what it writes
        part = out[start : start + count]
        out += part
        count -= len(part)
    return place


def _little(data: bytes, place: int, width: int) -> int:
    if place + width > len(data):
        raise IndexError
    return int.from_bytes(data[place : place + width], "little")
