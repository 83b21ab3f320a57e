"""Numbers as the C library reads them: the longest sensible prefix counts, the rest is ignored."""

from __future__ import annotations

import re

from ...core.errors import FormatError

__all__ = ["quotient", "read_float", "read_floats", "read_int", "read_ints"]

_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_LIMIT = 2**31


def read_int(text: str) -> int:
    """Return what `atoi` returns: 0 where no number begins.

    Raises:
        FormatError: it does not fit into 32 bits (C would wrap it around).
    """
    match = _INT.match(text)
    if match is None:
        return 0
    digits = match.group().lstrip("+-").lstrip("0") or "0"
    value = int(digits) if len(digits) <= 10 else _LIMIT
    if value >= _LIMIT:
        raise FormatError(f"the number {text[:40]} does not fit into 32 bits")
    return -value if text.startswith("-") else value


def read_float(text: str) -> float:
    """Return what `atof` returns for decimal numbers: 0 where none begins."""
    match = _FLOAT.match(text)
    return float(match.group()) if match else 0.0


def read_ints(text: str) -> tuple[int, ...]:
    """Return the numbers of a list; the number of commas says how many there are."""
    return tuple(read_int(part) for part in text.split(","))


def read_floats(text: str) -> tuple[float, ...]:
    """Return the numbers of a list; the number of commas says how many there are."""
    return tuple(read_float(part) for part in text.split(","))


def quotient(dividend: int, divisor: int) -> int:
    """Divide as C does, towards zero."""
    return -(-dividend // divisor) if dividend < 0 else dividend // divisor
