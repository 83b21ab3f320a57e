"""The numbers in a PNG with a palette, which segmentation sets store classes as.

Source: W3C "Portable Network Graphics", sections 7 (filters), 8 (interlacing), 11 (chunks).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from ..errors import DataError

__all__ = ["palette_indices"]

MOST_PIXELS = 1 << 28


def palette_indices(data: bytes) -> np.ndarray:
    """Return the palette numbers of a PNG of colour type 3 as H×W uint8.

    Raises:
        DataError: the file is broken, or interlaced.
    """
    try:
        width, height, depth, _, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
        if interlaced:
            raise DataError("an interlaced map of classes is not read", hint="save it without")
        if not 0 < width * height <= MOST_PIXELS:
            raise DataError(f"a map of {width}×{height} pixels cannot be")
        row = -(-width * depth // 8)
        packed = b"".join(_chunks(data))
        lines = np.frombuffer(
            zlib.decompressobj().decompress(packed, height * (row + 1)), np.uint8
        ).reshape(height, row + 1)
    except (struct.error, zlib.error, ValueError) as error:
        raise DataError(f"the PNG is broken: {error}") from error
    pixels = np.zeros((height, row), np.uint8)
    above = np.zeros(row, np.uint8)
    for number, line in enumerate(lines):
        above = pixels[number] = _unfiltered(int(line[0]), line[1:], above)
    if depth == 8:
        return pixels
    bits = np.unpackbits(pixels, axis=1).reshape(height, -1, depth)
    weights = 1 << np.arange(depth - 1, -1, -1)
    return np.asarray((bits * weights).sum(axis=2)[:, :width], dtype=np.uint8)


def _chunks(data: bytes) -> list[bytes]:
    found, place = [], 8
    while place + 8 <= len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            found.append(data[place + 8 : place + 8 + size])
        place += size + 12
    return found


def _unfiltered(kind: int, line: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return a line without its filter; with a palette, the byte before is one byte before."""
    if kind == 0:
        return line
    if kind == 1:
        return np.cumsum(line, dtype=np.uint8)
    if kind == 2:
        return np.asarray(line + above)
    if kind not in (3, 4):
        raise DataError(f"the PNG is broken: filter {kind}")
    result = np.empty_like(line)
    left = corner = 0
    for place, (value, up) in enumerate(zip(line.tolist(), above.tolist(), strict=True)):
        guess = (left + up) // 2 if kind == 3 else _paeth(left, up, corner)
        left = (value + guess) & 255
        result[place] = left
        corner = up
    return result


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    distances = abs(guess - left), abs(guess - up), abs(guess - corner)
    return (left, up, corner)[distances.index(min(distances))]
