"""The tree of errors that users see.

SecateurError
├── FormatError        a file is broken or contradicts its format
├── UnsupportedError   legal, but not supported
├── PlanError          a plan does not fit the network
├── DataError          calibration or test data cannot be used
└── VerificationError  a verification, comparison or gate failed (exit code 3)

The code that raises an error states only what is wrong. Its callers add the place (file, line,
layer, field) with :func:`located`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from .nearness import near_names

__all__ = [
    "DataError",
    "FormatError",
    "PlanError",
    "SecateurError",
    "UnsupportedError",
    "VerificationError",
    "Where",
    "located",
    "names_hint",
    "nearest_hint",
    "percent_hint",
]


LONGEST = 1000
"""Largest number of characters of a message: names in broken files can have any length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """A place in the user's files.

    Args:
        file: name of the file.
        line: number of the line, from 1.
        offset: offset in bytes, from 0.
        item: the layer, section or entry, in words.
        field: the field or key.
    """

    file: str | None = None
    line: int | None = None
    offset: int | None = None
    item: str | None = None
    field: str | None = None

    def within(self, outer: Where) -> Where:
        """Return this place, with missing parts taken from `outer`.

        A place in another file takes nothing from `outer`.
        """
        if self.file and outer.file and self.file != outer.file:
            return self
        filled = {
            f.name: getattr(self, f.name)
            if getattr(self, f.name) is not None
            else getattr(outer, f.name)
            for f in fields(self)
        }
        if self.line is not None or self.offset is not None:
            filled["line"], filled["offset"] = self.line, self.offset
        return Where(**filled)

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        elif self.offset is not None:
            place += f", byte {self.offset}" if place else f"byte {self.offset}"
        inside = ", ".join(
            part for part in (self.item, f"field {self.field}" if self.field else None) if part
        )
        return ": ".join(part for part in (place, inside) if part)


class SecateurError(Exception):
    """An error that the user can understand and fix. `str()` returns one line.

    Args:
        message: what is wrong.
        hint: what the user can do.
        where: the place; :func:`located` adds missing parts.
        option: name of the option whose value is wrong; a command names its flag.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        where: Where | None = None,
        option: str | None = None,
    ):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where or Where()
        self.option = option

    def __str__(self) -> str:
        place = str(self.where)
        text = f"{place}: {self.message}" if place else self.message
        if self.hint:
            text += f" (hint: {self.hint})"
        line = " ".join(text.split())
        return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


class FormatError(SecateurError):
    """A file is broken or contradicts itself."""


class UnsupportedError(SecateurError):
    """A legal construct that is not supported."""


class PlanError(SecateurError):
    """A plan does not fit the network it is applied to."""


class DataError(SecateurError):
    """Calibration or test data cannot be read, or does not fit the network."""


class VerificationError(SecateurError):
    """A verification, a comparison or a gate failed; nothing was written."""

    exit_code = 3


@contextmanager
def located(
    *,
    file: str | None = None,
    line: int | None = None,
    offset: int | None = None,
    item: str | None = None,
    field: str | None = None,
) -> Iterator[None]:
    """Add a place to every :class:`SecateurError` raised inside; parts that it has are kept."""
    try:
        yield
    except SecateurError as error:
        outer = Where(file=file, line=line, offset=offset, item=item, field=field)
        error.where = error.where.within(outer)
        raise


def nearest_hint(name: str, known: Iterable[str], otherwise: str | None) -> str | None:
    """Return a hint for an unknown name: the known names that were probably meant.

    Args:
        name: the name that the user wrote.
        known: the valid names.
        otherwise: the hint if no valid name is near (:mod:`.nearness`).
    """
    near = near_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def names_hint(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name of a short list: what was probably meant, and all names.

    Args:
        name: the name that the user wrote.
        known: the valid names, in the order in which they are shown.
    """
    shown = list(known)
    every = f"known are {', '.join(shown)}"
    near = nearest_hint(name, shown, None)
    return f"{near} {every}" if near else every


def percent_hint(value: float) -> str | None:
    """Return a hint for a fraction that was probably given in percent; None for other values.

    Args:
        value: what the user gave where a number from 0 to 1 belongs.
    """
    return f"{value / 100:g} for {value:g} %" if 1.0 < value <= 100.0 else None
