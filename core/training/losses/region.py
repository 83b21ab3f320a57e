"""The head of anchors in cells, of both engines. Source: region_layer.c."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...evaluation.metrics.tree import sibling_counts
from ..framework import torch
from .boxes import Box, overlap, overlaps
from .delta import DeltaLoss, Deltas
from .grid import Cell, Rows, Truth, as_grid, truths_of, wrapped

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RegionLoss"]

EARLY = 12800
"""Images before which every anchor is pulled to its own shape in the middle of its cell."""
EARLY_SCALE = 0.01
WHOLE = 100000
"""A truth whose x and y are above this is a class of the whole image."""


class _Group(NamedTuple):
    """Siblings in a tree of classes."""

    first: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionLoss(DeltaLoss):
    """Boxes, objectness and classes of anchors.

    Called with the input of the head, its output and the truths (images × boxes × (x, y, w, h,
    class, …), relative to the image).

    Args:
        classes: how many there are.
        anchors: width and height of each, in cells.
        coords: coordinates of a box; the first four are x, y, w, h.
        most: truths of an image that are looked at.
        threshold: above this overlap a cell is no background.
        box_scale: factor of boxes.
        object_scale: factor of objectness where there is a truth.
        background_scale: factor of objectness elsewhere.
        class_scale: factor of classes.
        mask_scale: factor of further coordinates.
        rescore: objectness follows the overlap.
        by_anchor: a truth takes the anchor of its shape, and not the prediction of its shape.
        class_fix: −1: background follows the overlap; 1 and 2: overlapping cells learn the class.
        focal: deltas of classes are those of the focal loss.
        softmax: classes are one softmax.
        background: objectness is the class of nothing.
        parents: of each class; () where they form no tree.
        class_map: class in the labels → class of the head; () for none.
        first: the older engine: a map, whose sigmoids come with their derivatives afterwards.
    """

    classes: int
    anchors: tuple[tuple[float, float], ...]
    coords: int = 4
    most: int = 200
    threshold: float = 0.5
    box_scale: float = 1.0
    object_scale: float = 1.0
    background_scale: float = 1.0
    class_scale: float = 1.0
    mask_scale: float = 1.0
    rescore: bool = False
    by_anchor: bool = False
    class_fix: int = 0
    focal: bool = False
    softmax: bool = False
    background: bool = False
    parents: tuple[int, ...] = ()
    class_map: tuple[int, ...] = ()
    first: bool = False

    def deltas(self, *inputs: Tensor, seen: int = 0) -> Deltas:
        """Return the delta and the reported cost."""
        raw, output, truth = inputs
        outputs = as_grid(output, len(self.anchors), rows_first=not self.first).clone()
        if not self.first:  # x and y are raw in this engine's output
            outputs[:, :, :2] = outputs[:, :, :2].sigmoid()
        delta = torch.zeros_like(outputs)
        listed = truth.detach().double().cpu().numpy().reshape(len(outputs), len(truth[0]), -1)
        boxes = self._boxes(outputs)
        visits: list[tuple[Cell, Truth, int, int]] = []
        rows_needed: list[Cell] = []
        for image, rows in enumerate(listed):
            truths = list(self._truths(rows))
            whole = self._whole(image, truths, outputs)
            if whole is not None:
                rows_needed.append(whole[0])
                visits.append((*whole, -1, -1))
                if self.first:
                    place = self.coords
                    delta[image, :, place] = -self.background_scale * outputs[image, :, place]
                continue
            self._background(image, truths, outputs, delta, boxes[image], seen)
            for one in truths:
                column = int(np.float32(one.box.x) * outputs.shape[4])
                row = int(np.float32(one.box.y) * outputs.shape[3])
                cells = [
                    wrapped(Cell(image, k, row, column), (*outputs.shape[:2], *outputs.shape[3:]))
                    for k in range(len(self.anchors))
                ]
                kept = [cell for cell in cells if cell is not None]
                if kept:
                    rows_needed += kept
                    visits.append((kept[0], one, row, column))
        found = Rows.of(rows_needed, outputs, delta)
        for cell, one, row, column in visits:
            if row < 0:
                self._one_class(found, cell, one)
            else:
                self._visit(found, cell.image, one, row, column, outputs)
        found.write(delta)
        own = delta.reshape(raw.shape)
        cost = own.double().square().sum().float()
        return Deltas(own, cost, self._passed(delta, outputs).reshape(raw.shape))

    def _truths(self, rows: np.ndarray) -> Iterator[Truth]:
        if not self.first:
            lowest = -(2**31)
            return truths_of(rows, self.most, self.classes, class_first=True, lowest=lowest)
        shown = np.delete(rows, range(4, self.coords), axis=1) if self.coords > 4 else rows
        return truths_of(shown, self.most, self.classes, class_first=False, lowest=0)

    def _boxes(self, outputs: Tensor) -> Tensor:
        """Return the boxes of all cells, images × (anchors · rows · columns) × 4."""
        rows, columns = outputs.shape[3:]
        own = torch.tensor(self.anchors).to(outputs)
        w, h = (own[:, k].reshape(1, -1, 1, 1) for k in (0, 1))
        x = (outputs[:, :, 0] + torch.arange(columns).to(outputs)) / columns
        y = (outputs[:, :, 1] + torch.arange(rows).to(outputs).unsqueeze(1)) / rows
        pw, ph = outputs[:, :, 2].exp() * w / columns, outputs[:, :, 3].exp() * h / rows
        return torch.stack((x, y, pw, ph), -1).flatten(1, 3)

    def _slope(self, s: Tensor) -> Tensor:
        """Return the derivative that this engine's delta of a sigmoid contains."""
        return torch.ones_like(s) if self.first else s * (1 - s)

    def _background(
        self, image: int, truths: list[Truth], outputs: Tensor, delta: Tensor, boxes: Tensor,
        seen: int,
    ) -> None:  # fmt: skip
        """Set the deltas of all cells of an image as if no truth belonged to them."""
        x, d, place = outputs[image], delta[image], self.coords
        score = x[:, place]
        aim = 1.0 if self.background else 0.0
        best = torch.zeros_like(score)
        which = torch.zeros_like(score, dtype=torch.long)
        if truths:
            listed = torch.tensor([one.box for one in truths]).to(boxes)
            best, which = (t.reshape(score.shape) for t in overlaps(boxes, listed).max(1))
        d[:, place] = self.background_scale * (aim - score) * self._slope(score)
        if self.class_fix == -1 and not self.first:
            d[:, place] = self.background_scale * (best - score) * self._slope(score)
        else:
            near = best > self.threshold
            d[:, place] = torch.where(near, torch.zeros_like(score), d[:, place])
            if self.class_fix > 0 and not self.first:
                self._fix_classes(x, d, near, which, truths)
        if seen < EARLY:
            middle = x[:, :2]
            d[:, :2] = EARLY_SCALE * (0.5 - middle) * self._slope(middle)
            d[:, 2:4] = -EARLY_SCALE * x[:, 2:4]

    def _fix_classes(
        self, x: Tensor, d: Tensor, near: Tensor, which: Tensor, truths: list[Truth]
    ) -> None:
        """Let cells that overlap a truth learn its class."""
        for anchor, row, column in near.nonzero().tolist():
            label = truths[int(which[anchor, row, column])].label
            entries = x[anchor, :, row, column].double().cpu().numpy()
            scale = self.class_scale * (entries[self.coords] if self.class_fix == 2 else 1)
            found = np.zeros(self.classes)
            self._class(entries[self.coords + 1 :], found, label, float(scale))
            d[anchor, self.coords + 1 :, row, column] = torch.from_numpy(found).to(d)

    def _visit(
        self, found: Rows, image: int, one: Truth, row: int, column: int, outputs: Tensor
    ) -> None:
        """Change the deltas of the cell that a truth belongs to."""
        rows, columns = outputs.shape[3:]
        shape = (*outputs.shape[:2], rows, columns)
        form, best, most = Box(0, 0, one.box.w, one.box.h), 0, 0.0
        for number, (w, h) in enumerate(self.anchors):
            cell = wrapped(Cell(image, number, row, column), shape)
            if cell is None:
                continue
            x, _ = found.row(cell)
            sides = (1.0, 1.0) if self.by_anchor else (math.exp(x[2]), math.exp(x[3]))
            shown = Box(0, 0, sides[0] * w / columns, sides[1] * h / rows)
            fits = overlap(shown, form)
            if fits > most:
                best, most = number, fits
        cell = wrapped(Cell(image, best, row, column), shape)
        if cell is None:
            return
        x, d = found.row(cell)
        w, h = self.anchors[best]
        box = Box(
            (column + x[0]) / columns, (row + x[1]) / rows,
            math.exp(x[2]) * w / columns, math.exp(x[3]) * h / rows,
        )  # fmt: skip
        iou = overlap(box, one.box)
        scale = self.box_scale * (2 - one.box.w * one.box.h if self.first else 1)
        aims = (
            one.box.x * columns - column, one.box.y * rows - row,
            _log(one.box.w * columns / w), _log(one.box.h * rows / h),
        )  # fmt: skip
        place = self.coords
        slopes = [1.0, 1.0, 1.0] if self.first else [s * (1 - s) for s in x[[0, 1, place]]]
        for k in range(4):
            d[k] = scale * (aims[k] - x[k]) * (slopes[k] if k < 2 else 1.0)
        aim = 0.0 if self.background else (iou if self.rescore else 1.0)
        d[place] = self.object_scale * (aim - x[place]) * slopes[2]
        label = self.class_map[one.label] if self.class_map else one.label
        self._class(x[place + 1 :], d[place + 1 :], label, self.class_scale)

    def _class(self, x: np.ndarray, d: np.ndarray, label: int, scale: float) -> None:
        """Change the deltas of the classes of one cell."""
        if self.parents:
            groups = list(self._groups())
            while label >= 0:
                own = next(g for g in groups if g.first <= label < g.first + g.size)
                part = slice(own.first, own.first + own.size)
                d[part] = -scale * x[part]
                d[label] = scale * (1 - x[label])
                label = self.parents[label]
            return
        if self.first and not self.softmax and d[0] != 0:
            d[label] = scale * (1 - x[label])
            return
        d[:] = -scale * x
        d[label] = scale * (1 - x[label])
        if self.focal and not self.first:
            p = x[label] + 1e-15
            d *= 0.5 * -(1 - p) * (2 * p * math.log(p) + p - 1) if p > 0 else math.nan

    def _groups(self) -> Iterator[_Group]:
        first = 0
        for count in sibling_counts(self.parents):
            yield _Group(first, count)
            first += count

    def _whole(self, image: int, truths: list[Truth], outputs: Tensor) -> tuple[Cell, Truth] | None:
        """Return the cell that is surest of a class of the whole image; None without such one."""
        if not self.parents:
            return None
        one = next((t for t in truths if t.box.x > WHOLE and t.box.y > WHOLE), None)
        if one is None:
            return None
        chance = outputs[image, :, self.coords].clone()
        label = one.label
        while label >= 0:
            chance *= outputs[image, :, self.coords + 1 + label]
            label = self.parents[label]
        # The engines look at cells in their own order and keep the first of equal ones.
        ordered = chance if self.first else chance.permute(1, 2, 0)
        place = int(ordered.reshape(-1).argmax())
        found = [int(k) for k in np.unravel_index(place, ordered.shape)]
        anchor, row, column = found if self.first else (found[2], found[0], found[1])
        return Cell(image, anchor, row, column), one

    def _one_class(self, found: Rows, cell: Cell, one: Truth) -> None:
        """Let one cell learn the class of the whole image."""
        x, d = found.row(cell)
        self._class(x[self.coords + 1 :], d[self.coords + 1 :], one.label, self.class_scale)
        if self.first:
            d[self.coords] = 0

    def _passed(self, delta: Tensor, outputs: Tensor) -> Tensor:
        """Return what reaches the layer before."""
        if not self.first:
            return delta
        passed = delta.clone()
        places = [0, 1, *range(4, self.coords)]
        if not self.background:
            places.append(self.coords)
        for place in places:
            s = outputs[:, :, place]
            passed[:, :, place] *= s * (1 - s)
        return passed


def _log(number: float) -> float:
    """Return a logarithm as C does: minus infinity of 0."""
    if number > 0:
        return math.log(number)
    return -math.inf if number == 0 else math.nan
