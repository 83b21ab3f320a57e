"""The table of layer times: `layer,inputs,outputs,milliseconds`, a line for each point."""

from __future__ import annotations

import csv
import math
from collections import defaultdict

from ..errors import PlanError, located
from .layer_times import LayerTime, Point

__all__ = ["read_times"]

COLUMNS = ("layer", "inputs", "outputs", "milliseconds")

LARGEST = 1 << 20
"""Most channels of a line."""


def read_times(text: str) -> dict[str, LayerTime]:
    """Return layer → points from the text of a table.

    Args:
        text: lines of comma-separated values; the first one names the columns, in any order.

    Raises:
        PlanError: a line is wrong; it names the line and the column.
    """
    points: dict[str, dict[tuple[int, int], Point]] = defaultdict(dict)
    try:
        rows = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
        header = [name.strip().lower() for name in next(rows, [])]
        with located(line=1):
            if missing := [name for name in COLUMNS if name not in header]:
                raise PlanError(
                    f"the table of times has no column '{missing[0]}'", hint=",".join(COLUMNS)
                )
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            with located(line=rows.line_num):
                name, point = _point(header, row)
                at = (point.inputs, point.outputs)
                if at in points[name]:
                    raise PlanError(
                        f"'{name}' was timed with {at[0]} inputs and {at[1]} outputs before"
                    )
                points[name][at] = point
    except csv.Error as error:
        with located(line=rows.line_num):
            raise PlanError(f"not a line of comma-separated values: {error}") from error
    if not points:
        raise PlanError("the table holds no times", hint="run time_layers.py of the folder first")
    return {name: tuple(own.values()) for name, own in points.items()}


def _point(header: list[str], row: list[str]) -> tuple[str, Point]:
    """Return the layer and the point of a line.

    Raises:
        PlanError: it is none.
    """
    if len(row) != len(header):
        raise PlanError(f"{len(header)} values are expected, found {len(row)}")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    counts = []
    for name in ("inputs", "outputs"):
        cell = cells[name]
        if not (cell.isascii() and cell.isdecimal() and 0 < int(cell[:9]) <= LARGEST):
            with located(field=name):
                raise PlanError(f"must be a number of channels, got '{cell[:40]}'")
        counts.append(int(cell[:9]))
    with located(field="milliseconds"):
        try:
            time = float(cells["milliseconds"])
        except ValueError:
            time = math.nan
        if not 0.0 < time < math.inf:
            raise PlanError(f"must be milliseconds, got '{cells['milliseconds'][:40]}'")
    if not cells["layer"]:
        raise PlanError("names no layer")
    return cells["layer"], Point(counts[0], counts[1], time)
