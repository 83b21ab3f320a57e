"""`--criterion help` and the like: what may stand for a flag, in the place of its value."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .values import Line, Values

__all__ = ["WIDTH", "asked", "lines"]

WIDTH = 80
"""Columns of a listing."""


def asked(arguments: Sequence[str], command: Callable[..., Any] | None) -> Values | None:
    """Return the values that a command line asks for; None if it asks for none.

    Args:
        arguments: the command line.
        command: the function that it calls.
    """
    known: Mapping[str, Values] = getattr(command, "values", {})
    for number, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        following = [value] if equals else arguments[number + 1 : number + 2]
        if flag in known and "help" in following:
            return known[flag]
    return None


def lines(values: Iterable[Line]) -> str:
    """Return values and what they do, aligned in :data:`WIDTH` columns."""
    rows = list(values)
    wide = max(len(name) for name, _ in rows) + 2
    return "\n".join(
        textwrap.fill(text, WIDTH, initial_indent=f"{name:<{wide}}", subsequent_indent=" " * wide)
        for name, text in rows
    )
