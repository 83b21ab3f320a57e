"""The head of anchors with deviations: each coordinate is a normal distribution.

Source: gaussian head's layer file, `forward`, `delta_…_box`, `averages_…_deltas`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..framework import torch
from .anchors import AnchorLoss, _Sums, _Visit
from .boxes import Box, overlap
from .grid import Cell, Truth

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GaussianLoss"]

CLASS_ONLY = -2.0
"""Overlap of a visit to a cell that only learns the class of a truth."""
SPREAD = 0.3
"""Added to a deviation in the density."""
LEAST = 1e-9
"""Added to a density that is divided by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianLoss(AnchorLoss):
    """Entries: x, σx, y, σy, w, σw, h, σh, objectness, classes.

    Args:
        deviation_factor: of the deltas of deviations.
        corner: which point of a box its x and y are: 0 the centre, −1 left and top, 1 right and
            bottom.
    """

    deviation_factor: float = 1.0
    corner: int = 0

    places: ClassVar[tuple[int, int, int, int]] = (0, 2, 4, 6)
    objectness: ClassVar[int] = 8
    class_first: ClassVar[bool] = True
    always_shared: ClassVar[bool] = True

    def _cell(self, box: Box, shape: tuple[int, ...]) -> tuple[int, int]:
        if not self.corner:
            return AnchorLoss._cell(self, box, shape)
        x, y = box.x + self.corner * box.w / 2, box.y + self.corner * box.h / 2
        return (
            min(shape[3] - 1, max(0, int(x * shape[3]))),
            min(shape[2] - 1, max(0, int(y * shape[2]))),
        )

    def _ignored(self, best: Tensor, objectness: Tensor, delta: Tensor) -> Tensor:
        if not self.smooth_objects:
            return torch.zeros_like(delta)
        return self.object_factor * (best * best - objectness)

    def _overlapping(
        self, image: int, truths: list[Truth], matched: Tensor, which: Tensor
    ) -> Iterator[_Visit]:
        if not self.smooth_objects:
            return
        shape = tuple(matched.shape)
        chosen = which.reshape(shape)
        for anchor, row, column in (matched > self.ignore).nonzero().tolist():
            truth = truths[int(chosen[anchor, row, column])]
            cell = Cell(image, anchor, row, column)
            size = (shape[1], shape[2])
            yield _Visit(cell, self.mask[anchor], truth, column, row, size, CLASS_ONLY)

    def _visit(self, visit: _Visit, x: np.ndarray, delta: np.ndarray, sums: _Sums) -> None:
        if visit.overlap != CLASS_ONLY:
            AnchorLoss._visit(self, visit, x, delta, sums)
            return
        label = visit.truth.label
        label = self.class_map[label] if self.class_map else label
        first = self.objectness + 1
        self._class(x[first:], delta[first:], label)

    def _kept(self, objectness: float) -> bool:
        del objectness
        return False

    def _classed(self, delta: np.ndarray, label: int) -> bool:
        del label
        return bool(delta[0] != 0)

    def _boxes(self, outputs: Tensor) -> Tensor:
        found = AnchorLoss._boxes(self, outputs)
        if self.corner:
            found[..., :2] -= self.corner * found[..., 2:] / 2
        return found

    def _predicted(self, visit: _Visit, x: np.ndarray) -> Box:
        box = AnchorLoss._predicted(self, visit, x)
        shift = self.corner / 2
        return Box(box.x - shift * box.w, box.y - shift * box.h, box.w, box.h)

    def _aims(self, visit: _Visit) -> tuple[float, float, float, float]:
        box = visit.truth.box
        shift = self.corner / 2
        moved = Box(box.x + shift * box.w, box.y + shift * box.h, box.w, box.h)
        truth = visit.truth._replace(box=moved)
        return AnchorLoss._aims(self, visit._replace(truth=truth))

    def _pulled(self, predicted: Box, truth: Box, x: np.ndarray) -> np.ndarray:
        found = AnchorLoss._pulled(self, predicted, truth, x)
        if self.corner:
            # The shift takes the derivatives by width and height before their exponentials.
            sides = found[2:] / np.exp([x[k] for k in self.places[2:]])
            found[:2] += self.corner * sides / 2
        return found

    def _box(
        self, visit: _Visit, x: np.ndarray, delta: np.ndarray, factor: float
    ) -> tuple[float, float]:
        truth = visit.truth.box
        predicted = self._predicted(visit, x)
        spread = np.array([x[k + 1] for k in self.places])
        with np.errstate(all="ignore"):
            off = np.array(
                [aim - x[k] for aim, k in zip(self._aims(visit), self.places, strict=True)]
            )
            inner = off / spread
            density = np.exp(-inner * inner / 2) / (math.sqrt(2 * math.pi) * (spread + SPREAD))
            near = density / (density + LEAST) / 2 * (2 - truth.w * truth.h)
            own = near * inner / spread
            deviations = near * (inner * inner / spread - 1 / (spread + SPREAD))
            if self.box != "mse":
                own = self._pulled(predicted, truth, x)
        own = own * (self.box_factor * factor)
        deviations = deviations * self.deviation_factor
        for found, shift in ((own, 0), (deviations, 1)):
            found[~np.isfinite(found)] = 0
            if self.limit is not None:
                found = np.clip(found, -self.limit, self.limit)
            delta[[k + shift for k in self.places]] += found
        return overlap(predicted, truth), overlap(predicted, truth, "giou")

    def _cost(self, delta: Tensor, sums: _Sums) -> Tensor:
        del sums
        return delta.double().square().sum().float()
