"""The protobuf wire format, read in place: fields are offsets into a buffer, nothing is copied.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import FormatError, Where
from ..core.ir.network import Piece

__all__ = ["DOUBLE", "FIXED", "FLOAT", "LENGTH", "VARINT", "WireField", "length_field", "varint",
           "varint_field", "walk", "walk_varints"]  # fmt: skip

VARINT, DOUBLE, LENGTH, FLOAT = 0, 1, 2, 5
FIXED = {FLOAT: 4, DOUBLE: 8}
"""Wire types of fixed size, with that size in bytes."""


@dataclass(frozen=True, slots=True)
class WireField:
    """One field, or a run of `count` adjacent fixed-size fields with the same tag.

    `tag` is the offset of its tag, `[start, end)` is its content, `value` is the value of a varint.
    """

    number: int
    kind: int
    tag: int
    start: int
    end: int
    value: int = 0
    count: int = 1


CUT_SHORT = "the file ends too early: download or copy it again"


def bad(message: str, offset: int, hint: str | None = None) -> FormatError:
    """Return an error at an offset in bytes."""
    return FormatError(message, where=Where(offset=offset), hint=hint)


def read_varint(buffer: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return a varint and the position after it.

    Raises:
        FormatError: it is longer than ten bytes or runs over `end`.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position + shift // 7 >= end:
            raise bad("cut short inside a number", position, CUT_SHORT)
        byte = buffer[position + shift // 7]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + shift // 7 + 1
    raise bad("a number is longer than ten bytes", position)


def walk(buffer: memoryview, start: int, end: int) -> Iterator[WireField]:
    """Yield the fields of the message in `buffer[start:end]`.

    Raises:
        FormatError: the bytes are no protobuf message; names the offset.
    """
    position = start
    while position < end:
        tag = position
        key, position = read_varint(buffer, position, end)
        number, kind = key >> 3, key & 7
        if number == 0 or number > 0x1FFF_FFFF:
            raise bad("not a protobuf message: impossible field number", tag)
        if kind == VARINT:
            value, after = read_varint(buffer, position, end)
            yield WireField(number, kind, tag, position, after, value)
        elif kind == LENGTH:
            size, position = read_varint(buffer, position, end)
            after = position + size
            if after > end:
                raise bad(
                    f"cut short: field {number} claims {size} bytes, {end - position} remain",
                    tag,
                    CUT_SHORT,
                )
            yield WireField(number, kind, tag, position, after)
        elif kind in FIXED:
            after = position + FIXED[kind]
            if after > end:
                raise bad(f"cut short inside field {number}", tag, CUT_SHORT)
            count = _run(buffer, tag, position, after, end)
            after += (count - 1) * (after - tag)
            yield WireField(number, kind, tag, position, after, count=count)
        else:
            raise bad(f"not a protobuf message: wire type {kind} is not used", tag)
        position = after


def _run(buffer: memoryview, tag: int, start: int, after: int, end: int) -> int:
    """Return the number of fields with the same tag at equal distance, without a loop over them."""
    step = after - tag
    possible = (end - tag) // step
    key = bytes(buffer[tag:start])
    if possible < 2 or bytes(buffer[after : after + len(key)]) != key:
        return 1
    rows = np.frombuffer(buffer, np.uint8, possible * step, tag).reshape(possible, step)
    same = (rows[:, : len(key)] == np.frombuffer(key, np.uint8)).all(axis=1)
    return int(np.argmin(same)) if not same.all() else possible


def walk_varints(buffer: memoryview, start: int, end: int) -> Iterator[int]:
    """Yield the numbers of a packed field."""
    position = start
    while position < end:
        value, position = read_varint(buffer, position, end)
        yield value


def varint(value: int) -> bytes:
    """Encode an unsigned number."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_field(number: int, value: int) -> bytes:
    """Encode a varint field. Negative numbers take ten bytes, as protobuf specifies."""
    return varint(number << 3 | VARINT) + varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def length_field(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces of a length-delimited field, without joining them."""
    size = sum(len(piece) for piece in pieces)
    return [varint(number << 3 | LENGTH) + varint(size), *pieces]
