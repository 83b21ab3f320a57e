"""Tables as HTML: for notebooks, reports and indexes of pictures alike, without any package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any

__all__ = ["SHOWN", "Table", "figures", "notebook"]

UNIT = re.compile(r"(?<=\d) (?=[%A-Za-z])")
"""The space between a number and its unit."""

LONG = 20
"""Letters of a word that is no longer kept whole."""

SHOWN = 200
"""Rows that a notebook shows at most: longer tables make it slow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of texts. The first cell of a row names the row.

    Args:
        caption: what it shows.
        columns: the heads of the columns.
        rows: a text for every column.
        numeric: positions of the columns that hold numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()
    kind = "table"

    def __html__(self) -> str:
        """Return it as HTML; all texts are escaped."""
        heads = "".join(
            f'<th scope="col"{self._class(place)}>{escape(name)}</th>'
            for place, name in enumerate(self.columns)
        )
        rows = "\n".join(f"<tr>{self._row(row)}</tr>" for row in self.rows)
        return (
            f"<table>\n<caption>{escape(self.caption)}</caption>\n"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
        )

    def shortened(self, most: int = SHOWN) -> Table:
        """Return the first rows; the last one says how many more there are."""
        if len(self.rows) <= most:
            return self
        more = f"… and {len(self.rows) - most:,} more"
        empty = ("",) * (len(self.columns) - 1)
        return replace(self, rows=(*self.rows[:most], (more, *empty)))

    def _row(self, row: tuple[str, ...]) -> str:
        first, *rest = row
        cells = "".join(
            f"<td{self._class(place, text)}>{self._text(place, text)}</td>"
            for place, text in enumerate(rest, 1)
        )
        return f'<th scope="row"{self._class(0, first)}>{self._text(0, first)}</th>{cells}'

    def _text(self, place: int, text: str) -> str:
        """Return a cell as HTML: between a number and its unit no line ends."""
        whole = UNIT.sub("\N{NO-BREAK SPACE}", text) if place in self.numeric else text
        return escape(whole)

    def _class(self, place: int, text: str = "") -> str:
        """Return the class of a cell: lines of it may end within long words, such as paths."""
        if place in self.numeric:
            return ' class="number"'
        return ' class="long"' if max(map(len, text.split()), default=0) > LONG else ""


def figures(caption: str, result: Any) -> Table:
    """Return the texts and numbers of a frozen dataclass as a table.

    Args:
        caption: what it shows.
        result: the dataclass; what it has in mappings and sequences is left out.
    """
    rows = [
        (field.name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value))
        for field in fields(result)
        if isinstance(value := getattr(result, field.name), str | int | float)
    ]
    return Table(caption=caption, columns=("Figure", "Value"), rows=rows, numeric=(1,))


def notebook(*tables: Table, about: str = "") -> str:
    """Return what a notebook shows of an object.

    Args:
        tables: its tables; long ones are shortened.
        about: a sentence above them.
    """
    above = f"<p>{escape(about)}</p>\n" if about else ""
    return above + "\n".join(table.shortened().__html__() for table in tables)
