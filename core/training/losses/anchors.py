"""The head of anchors in pixels, of both engines.

Source: the head's layer file, `forward`, `delta_…_box`, `delta_…_class`. Its delta is no gradient
of any loss: see the methods of :class:`AnchorLoss`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np

from ..framework import torch
from .boxes import Box, overlap, overlaps, pull
from .delta import DeltaLoss, Deltas
from .grid import Cell, Rows, Truth, as_grid, truths_of, wrapped

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnchorLoss"]

LIKELY = 0.25
"""A cell is near a truth only if some class has more than this probability."""


class _Visit(NamedTuple):
    """A truth at a cell."""

    cell: Cell
    anchor: int
    """In the list of all anchors."""
    truth: Truth
    column: int
    row: int
    size: tuple[int, int]
    """Rows and columns of the grid."""
    overlap: float
    """How far the prediction overlaps the truth, where the cell only overlaps it; −1 where the
    truth belongs to the cell."""


@dataclass
class _Sums:
    """What is added up over truths for the reported cost."""

    count: int = 0
    iou: float = 0.0
    giou: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorLoss(DeltaLoss):
    """Boxes, objectness and classes of anchors.

    Called with the input of the head, its output and the truths (images × boxes × (x, y, w, h,
    class, …), relative to the image).

    Args:
        classes: how many there are.
        anchors: width and height of all, in pixels of the network's input.
        mask: which of them are those of this head.
        width: of the network's input.
        height: likewise.
        most: truths of an image that are looked at.
        ignore: above this overlap a cell is no background.
        certain: above this overlap a cell is pulled to the truth it overlaps most.
        further: above this overlap of shapes further anchors get a truth; 1 for none.
        further_kind: kind of that overlap.
        box: "mse", or the overlap whose derivative is taken.
        box_factor: of deltas of boxes.
        object_factor: of deltas of objectness.
        class_factor: of the delta of a true class, where classes have factors.
        passed_factor: of all deltas on their way back.
        limit: largest delta of an overlap; None for none.
        class_factors: of each class; () for none.
        focal: deltas of classes are those of the focal loss.
        smoothing: share of a label that is spread.
        smooth_objects: objectness follows the overlap.
        roots: w and h are roots in parts of twice the anchor.
        class_map: class in the labels → class of the head; () for none.
        brief: the cost is the squared norm of the delta in any case.
        first: the older engine: no factors, boxes of a cell replace each other.
    """

    classes: int
    anchors: tuple[tuple[float, float], ...]
    mask: tuple[int, ...]
    width: int
    height: int
    most: int = 200
    ignore: float = 0.5
    certain: float = 1.0
    further: float = 1.0
    further_kind: str = "iou"
    box: str = "mse"
    box_factor: float = 0.75
    object_factor: float = 1.0
    class_factor: float = 1.0
    passed_factor: float = 1.0
    limit: float | None = None
    class_factors: tuple[float, ...] = ()
    focal: bool = False
    smoothing: float = 0.0
    smooth_objects: bool = False
    roots: bool = False
    class_map: tuple[int, ...] = ()
    brief: bool = False
    first: bool = False

    places: ClassVar[tuple[int, int, int, int]] = (0, 1, 2, 3)
    """Entries of x, y, w, h."""
    objectness: ClassVar[int] = 4
    class_first: ClassVar[bool] = False
    lowest: ClassVar[int] = 0

    def at(self, height: int, width: int) -> Self:
        """Return the loss at another size: anchors stay as many pixels."""
        return replace(self, height=height, width=width)

    def deltas(self, *inputs: Tensor, seen: int = 0) -> Deltas:
        """Return the delta and the reported cost."""
        del seen
        raw, output, truth = inputs
        outputs = as_grid(output, len(self.mask))
        delta = torch.zeros_like(outputs)
        delta[:, :, self.objectness] = -self.object_factor * outputs[:, :, self.objectness]
        listed = truth.detach().double().cpu().numpy().reshape(len(outputs), len(truth[0]), -1)
        truths = [
            list(truths_of(rows, self.most, self.classes, class_first=self.class_first,
                           lowest=self.lowest))
            for rows in listed
        ]  # fmt: skip
        visits = list(self._visits(outputs, delta, truths))
        rows = Rows.of((visit.cell for visit in visits), outputs, delta)
        sums = _Sums()
        for visit in visits:
            self._visit(visit, *rows.row(visit.cell), sums)
        rows.write(delta)
        if self.further < 1 or self.always_shared:
            self._share(delta)
        own = delta.reshape(raw.shape)
        cost = self._cost(delta, sums)
        return Deltas(own, cost, own * self.passed_factor if self.passed_factor != 1 else None)

    always_shared: ClassVar[bool] = False

    def _visits(
        self, outputs: Tensor, delta: Tensor, truths: list[list[Truth]]
    ) -> Iterator[_Visit]:
        """Yield what truths do to cells, in order; set the objectness of all other cells."""
        shape = (outputs.shape[0], outputs.shape[1], *outputs.shape[3:])
        boxes = self._boxes(outputs)
        likely = (outputs[:, :, self.objectness + 1 :] > LIKELY).any(2).reshape(shape[0], -1)
        for image, listed in enumerate(truths):
            if listed:
                yield from self._near(image, listed, boxes[image], likely[image], outputs, delta)
            for truth in listed:
                yield from self._own(image, truth, shape)

    def _near(
        self, image: int, truths: list[Truth], boxes: Tensor, likely: Tensor, outputs: Tensor,
        delta: Tensor,
    ) -> Iterator[_Visit]:  # fmt: skip
        """Set the objectness of cells that overlap a truth; yield those that are certain of one."""
        listed = torch.tensor([truth.box for truth in truths], dtype=boxes.dtype).to(boxes.device)
        best, which = overlaps(boxes, listed).max(1)
        matched = best if self.first else torch.where(likely, best, torch.zeros_like(best))
        shape = outputs.shape[1], *outputs.shape[3:]
        matched = matched.reshape(shape)
        objects = delta[image, :, self.objectness]
        kept = self._ignored(matched, outputs[image, :, self.objectness], objects)
        delta[image, :, self.objectness] = torch.where(matched > self.ignore, kept, objects)
        yield from self._overlapping(image, truths, matched, which)
        if self.certain >= 1:
            return
        flat = (best > self.certain).nonzero().reshape(-1).tolist()
        found, chosen = best.tolist(), which.tolist()
        for place in flat:
            anchor, row, column = (int(k) for k in np.unravel_index(place, shape))
            cell = Cell(image, anchor, row, column)
            truth = truths[chosen[place]]
            size = (shape[1], shape[2])
            yield _Visit(cell, self.mask[anchor], truth, column, row, size, found[place])

    def _overlapping(
        self, image: int, truths: list[Truth], matched: Tensor, which: Tensor
    ) -> Iterator[_Visit]:
        """Yield cells that are no background for a truth that they overlap, if that does more."""
        del image, truths, matched, which
        yield from ()

    def _ignored(self, best: Tensor, objectness: Tensor, delta: Tensor) -> Tensor:
        """Return the delta of objectness of cells that overlap a truth."""
        if not self.smooth_objects:
            return torch.zeros_like(delta)
        return torch.maximum(delta, self.object_factor * (best - objectness))

    def _own(self, image: int, truth: Truth, shape: tuple[int, ...]) -> Iterator[_Visit]:
        """Yield the cell a truth belongs to, then those of further anchors of its shape."""
        column, row = self._cell(truth.box, shape)
        form = Box(0, 0, truth.box.w, truth.box.h)
        forms = [Box(0, 0, w / self.width, h / self.height) for w, h in self.anchors]
        best, most = 0, 0.0
        for number, other in enumerate(forms):
            found = overlap(other, form)
            if found > most:
                best, most = number, found
        chosen = [best] if best in self.mask else []
        if self.further < 1:
            chosen += [
                number for number, other in enumerate(forms)
                if number != best and number in self.mask
                and overlap(other, form, self.further_kind) > self.further
            ]  # fmt: skip
        for number in chosen:
            cell = wrapped(Cell(image, self.mask.index(number), row, column), shape)
            if cell is not None:
                yield _Visit(cell, number, truth, column, row, (shape[2], shape[3]), -1.0)

    def _cell(self, box: Box, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the column and row of a truth."""
        return int(np.float32(box.x) * shape[3]), int(np.float32(box.y) * shape[2])

    def _visit(self, visit: _Visit, x: np.ndarray, delta: np.ndarray, sums: _Sums) -> None:
        """Change the deltas of one cell for one truth."""
        truth, near = visit.truth, visit.overlap >= 0
        label = self.class_map[truth.label] if self.class_map else truth.label
        factor = self.class_factors[label] if self.class_factors else 1.0
        place, first = self.objectness, self.objectness + 1
        if near:
            aim = visit.overlap**2 if self.smooth_objects else 1.0
            delta[place] = self.object_factor * (aim - x[place])
            self._class(x[first:], delta[first:], label)
            if self.smooth_objects:
                delta[first + label] = factor * (aim - x[first + label])
            self._box(visit, x, delta, factor)
            return
        ious = self._box(visit, x, delta, factor)
        sums.count += 1
        sums.iou += 1 - ious[0]
        sums.giou += 1 - ious[1]
        if not self._kept(delta[place]):
            delta[place] = factor * self.object_factor * (1 - x[place])
        self._class(x[first:], delta[first:], label)

    def _kept(self, objectness: float) -> bool:
        """Whether a delta of objectness stays as it is where a truth belongs to the cell."""
        return self.smooth_objects and objectness != 0

    def _class(self, x: np.ndarray, delta: np.ndarray, label: int) -> None:
        """Change the deltas of classes; where a class has one already, only the true one."""
        aim = 1 - self.smoothing + self.smoothing / 2
        factor = self.class_factors[label] if self.class_factors else 1.0
        if self._classed(delta, label):
            delta[label] = (aim - x[label]) * factor
            return
        if self.focal:
            p = x[label] + 1e-15
            focal = -(1 - p) * (2 * p * math.log(p) + p - 1) if p > 0 else math.nan
            delta[:] = -x * 0.5 * focal
            delta[label] = (1 - x[label]) * 0.5 * focal
            return
        delta[:] = self.smoothing / 2 - x
        delta[label] = aim - x[label]
        if self.class_factors:
            delta[label] *= factor * self.class_factor

    def _classed(self, delta: np.ndarray, label: int) -> bool:
        """Whether a truth set the deltas of classes before."""
        return bool(delta[0 if self.first else label] != 0)

    def _box(
        self, visit: _Visit, x: np.ndarray, delta: np.ndarray, factor: float
    ) -> tuple[float, float]:
        """Change the deltas of a box; return its overlaps with the truth (plain, generalised)."""
        truth = visit.truth.box
        predicted = self._predicted(visit, x)
        ious = overlap(predicted, truth), overlap(predicted, truth, "giou")
        scale = 2 - truth.w * truth.h
        if self.box == "mse":
            aims = self._aims(visit)
            found = np.array([aim - x[k] for aim, k in zip(aims, self.places, strict=True)])
            found *= scale * self.box_factor * factor
        else:
            found = self._pulled(predicted, truth, x) * (self.box_factor * factor)
            found[~np.isfinite(found)] = 0
            if self.limit is not None:
                found = np.clip(found, -self.limit, self.limit)
        places = list(self.places)
        delta[places] = found if self.first else delta[places] + found
        return ious

    def _predicted(self, visit: _Visit, x: np.ndarray) -> Box:
        """Return the box of a cell, relative to the image."""
        px, py, pw, ph = (x[k] for k in self.places)
        w, h = self.anchors[visit.anchor]
        rows, columns = visit.size
        sides = (pw * pw * 4, ph * ph * 4) if self.roots else (np.exp(pw), np.exp(ph))
        return Box(
            float((visit.column + px) / columns), float((visit.row + py) / rows),
            float(sides[0] * w / self.width), float(sides[1] * h / self.height),
        )  # fmt: skip

    def _aims(self, visit: _Visit) -> tuple[float, float, float, float]:
        """Return what the entries of a box should be."""
        truth = visit.truth.box
        rows, columns = visit.size
        w, h = self.anchors[visit.anchor]
        sides = truth.w * self.width / w, truth.h * self.height / h
        if self.roots:
            sides = math.sqrt(sides[0] / 4), math.sqrt(sides[1] / 4)
        else:
            sides = _log(sides[0]), _log(sides[1])
        return truth.x * columns - visit.column, truth.y * rows - visit.row, *sides

    def _boxes(self, outputs: Tensor) -> Tensor:
        """Return the boxes of all cells, images × (anchors · rows · columns) × 4."""
        px, py, pw, ph = (outputs[:, :, place] for place in self.places)
        rows, columns = outputs.shape[3:]
        own = torch.tensor([self.anchors[k] for k in self.mask]).to(outputs)
        w, h = (own[:, k].reshape(1, -1, 1, 1) for k in (0, 1))
        if self.roots:
            pw, ph = pw * pw * 4, ph * ph * 4
        else:
            pw, ph = pw.exp(), ph.exp()
        x = (px + torch.arange(columns).to(outputs)) / columns
        y = (py + torch.arange(rows).to(outputs).unsqueeze(1)) / rows
        return torch.stack((x, y, pw * w / self.width, ph * h / self.height), -1).flatten(1, 3)

    def _share(self, delta: Tensor) -> None:
        """Divide the deltas of each box by the number of classes that it is pulled to."""
        count = (delta[:, :, self.objectness + 1 :] > 0).sum(2)
        shared = count > 0
        if not self.always_shared:
            shared &= delta[:, :, self.objectness] != 0
        divisor = torch.where(shared, count, 1).to(delta)
        delta[:, :, : self.objectness] /= divisor.unsqueeze(2)

    def _cost(self, delta: Tensor, sums: _Sums) -> Tensor:
        """Return what the engine reports."""
        if self.first or self.brief or self.box == "mse":
            return delta.double().square().sum().float()
        rest = self.object_factor * delta[:, :, self.objectness :].double().square().sum()
        lost = sums.giou if self.box == "giou" else sums.iou
        return (rest + self.box_factor * lost / max(sums.count, 1)).float()

    def _pulled(self, predicted: Box, truth: Box, x: np.ndarray) -> np.ndarray:
        """Return the derivatives of the overlap by the entries of a box."""
        found = np.array(pull(predicted, truth, self.box))
        if not self.roots:
            found[2:] *= np.exp([x[k] for k in self.places[2:]])
        return found


def _log(number: float) -> float:
    """Return a logarithm as C does: minus infinity of 0."""
    if number > 0:
        return math.log(number)
    return -math.inf if number == 0 else math.nan
