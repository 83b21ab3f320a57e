"""What heads share that find boxes of anchors in the cells of a grid.

The deltas of all cells are tensors; the few cells that a truth belongs to are worked on one after
another in the order of the engine, since later truths see what earlier ones did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..framework import torch
from .boxes import Box

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cell", "Rows", "Truth", "as_grid", "truths_of", "wrapped"]


class Truth(NamedTuple):
    """One box of an image and its class."""

    box: Box
    label: int
    place: int
    """Its row in the list."""


class Cell(NamedTuple):
    """Image, anchor, row and column."""

    image: int
    anchor: int
    row: int
    column: int


def truths_of(
    rows: np.ndarray, most: int, classes: int, *, class_first: bool, lowest: int
) -> Iterator[Truth]:
    """Yield the truths of an image; the list ends at the first x of 0.

    Args:
        rows: truths × (x, y, w, h, class, …).
        most: truths that are looked at.
        classes: truths of further classes are passed over.
        class_first: the class is looked at before the end of the list.
        lowest: smallest class that counts.
    """
    for place, row in enumerate(rows[:most]):
        label = int(row[4])
        foreign = label >= classes or label < lowest
        if class_first and foreign:
            continue
        if row[0] == 0:
            return
        if not foreign:
            yield Truth(Box(*(float(number) for number in row[:4])), label, place)


def wrapped(cell: Cell, shape: Sequence[int]) -> Cell | None:
    """Return the cell that an index beyond a row or a map falls into; None behind the last image.

    A truth at the far edge (x or y of 1) has such an index.

    Args:
        cell: the cell.
        shape: images, anchors, rows, columns.
    """
    images, anchors, rows, columns = shape
    flat = ((cell.image * anchors + cell.anchor) * rows + cell.row) * columns + cell.column
    if flat >= images * anchors * rows * columns:
        return None
    found = np.unravel_index(flat, (images, anchors, rows, columns))
    return Cell(*(int(number) for number in found))


def as_grid(x: Tensor, anchors: int, *, rows_first: bool = False) -> Tensor:
    """Return a map of a head as images × anchors × entries × rows × columns."""
    if rows_first:
        n, h, w, channels = x.shape
        return x.reshape(n, h, w, anchors, channels // anchors).permute(0, 3, 4, 1, 2)
    n, channels, h, w = x.shape
    return x.reshape(n, anchors, channels // anchors, h, w)


@dataclass
class Rows:
    """The entries of some cells, as arrays that are read and changed one after another.

    Args:
        outputs: cells × entries.
        deltas: likewise; changed in place.
    """

    outputs: np.ndarray
    deltas: np.ndarray
    places: dict[Cell, int] = field(default_factory=dict)

    @classmethod
    def of(cls, cells: Iterable[Cell], outputs: Tensor, deltas: Tensor) -> Rows:
        """Copy the entries of cells from grids of images × anchors × entries × rows × columns."""
        places: dict[Cell, int] = {}
        for cell in cells:
            places.setdefault(cell, len(places))
        where = _index(places, outputs)
        return cls(_rows(outputs, where), _rows(deltas, where), places)

    def row(self, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
        """Return outputs and deltas of a cell."""
        place = self.places[cell]
        return self.outputs[place], self.deltas[place]

    def write(self, deltas: Tensor) -> None:
        """Put the deltas back into a grid."""
        if self.places:
            image, anchor, row, column = _index(self.places, deltas)
            new = torch.from_numpy(self.deltas).to(deltas)
            deltas[image, anchor, :, row, column] = new


def _index(cells: Iterable[Cell], like: Tensor) -> tuple[Any, ...]:
    listed = np.array(list(cells), np.int64).reshape(-1, 4)
    return tuple(torch.from_numpy(listed[:, k].copy()).to(like.device) for k in range(4))


def _rows(grid: Tensor, where: tuple[Any, ...]) -> np.ndarray:
    image, anchor, row, column = where
    return np.array(grid[image, anchor, :, row, column].double().cpu().numpy())
