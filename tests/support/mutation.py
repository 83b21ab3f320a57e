"""Making broken files out of sound ones: seeded, so that every failure can be made again."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

NUMBERS = (
    b"0", b"-1", b"1", b"2", b"3", b"7", b"255", b"65536", b"1000000", b"2147483647",
    b"-2147483648", b"4294967296", b"99999999999999999999", b"1e9", b"nan", b"inf", b"0x10", b"",
    b"true", b"'x'", b"0.5",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_]{3,}")


def text(data: bytes, donors: Sequence[bytes], chosen: random.Random) -> bytes:
    """Return a text with a few numbers, words, lines or bytes changed."""
    for _ in range(chosen.randint(1, 4)):
        kind = chosen.randrange(7)
        if kind <= 2:
            data = _exchanged(data, _NUMBER, chosen.choice(NUMBERS), chosen)
        elif kind == 3:
            words = _WORD.findall(chosen.choice(donors)) or [b"x"]
            data = _exchanged(data, _WORD, chosen.choice(words), chosen)
        elif kind == 4:
            lines = data.split(b"\n")
            lines[chosen.randrange(len(lines))] = chosen.choice(lines)
            data = b"\n".join(lines)
        elif kind == 5:
            own, other = data.split(b"\n"), chosen.choice(donors).split(b"\n")
            start = chosen.randrange(len(other))
            place = chosen.randrange(len(own) + 1)
            own[place:place] = other[start : start + chosen.randint(1, 12)]
            data = b"\n".join(own)
        else:
            data = binary(data, chosen)
    return data


def binary(data: bytes, chosen: random.Random) -> bytes:
    """Return bytes with a few changed, cut out, doubled or cut off; most near the start."""
    changed = bytearray(data)
    for _ in range(chosen.randint(1, 4)):
        if not changed:
            break
        near = min(len(changed), 200) if chosen.random() < 0.5 else len(changed)
        place = chosen.randrange(near)
        kind = chosen.randrange(6)
        if kind <= 1:
            changed[place] = chosen.choice((0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)))
        elif kind == 2:
            changed[place : place + chosen.randint(1, 8)] = chosen.randbytes(chosen.randint(0, 8))
        elif kind == 3:
            del changed[place : place + chosen.randint(1, 64)]
        elif kind == 4:
            part = changed[place : place + chosen.randint(1, 64)]
            changed[place:place] = part
        else:
            del changed[chosen.randrange(len(changed)) :]
    return bytes(changed)


def _exchanged(data: bytes, pattern: re.Pattern[bytes], by: bytes, chosen: random.Random) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data
    match = chosen.choice(found)
    return data[: match.start()] + by + data[match.end() :]
