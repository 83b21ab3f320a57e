"""Numbers as the C library reads them: the longest valid prefix counts, the rest is ignored."""

from __future__ import annotations

import re

from ...core.errors import FormatError

__all__ = ["quotient", "read_float", "read_floats", "read_int", "read_ints"]

_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_LIMIT = 2**31


def read_int(text: str) -> int:
    """Return the number that `atoi` returns: 0 if the text does not begin with a number.

    Raises:
        FormatError: the number does not fit into 32 bits (C would wrap it around).
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
    """Return the number that `atof` returns for a decimal number: 0 if there is none."""
    match = _FLOAT.match(text)
    return float(match.group()) if match else 0.0


def read_ints(text: str) -> tuple[int, ...]:
    """Return the numbers between the commas of a list."""
    return tuple(read_int(part) for part in text.split(","))


def read_floats(text: str) -> tuple[float, ...]:
    """Return the numbers between the commas of a list."""
    return tuple(read_float(part) for part in text.split(","))


def quotient(dividend: int, divisor: int) -> int:
    """Return the quotient rounded towards zero, as in C."""
    return -(-dividend // divisor) if dividend < 0 else dividend // divisor
