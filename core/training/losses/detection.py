"""The head of boxes in cells without anchors, as it was first; the same in both engines.

Source: detection_layer.c `forward_detection_layer`, data.c `fill_truth_region`.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..framework import torch
from .boxes import Box, overlap
from .delta import DeltaLoss, Deltas

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DetectionLoss"]

EARLY = 64000
"""Images before which a box of the cell is drawn, where `drawn` asks for it."""
FAR = 20.0
"""Boxes that are as far as this from a truth are not taken for it."""
SMALL = 0.1
"""A truth with a smaller area belongs to the second box, where `forced` asks for it."""


class _Truth(NamedTuple):
    """What a cell is told.

    Args:
        classes: what each class should be.
        box: x and y in parts of the cell, width and height in parts of the image.
    """

    classes: np.ndarray
    box: np.ndarray


class _Parts(NamedTuple):
    """Views of the vector of an image by what it holds, for each cell."""

    classes: np.ndarray
    objects: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionLoss(DeltaLoss):
    """Boxes, objectness and classes of cells.

    Called with the input of the head, its output (a vector an image: the classes of each cell, the
    objectness of its boxes, the boxes) and the truths: images × boxes × (x, y, w, h, class, …) in
    parts of the image, or a vector an image as the engine has it (for each cell: whether something
    is there, its classes, its box).

    Of several truths in a cell one counts. The engine shuffles them; here the draw follows from the
    truths and the images seen, so that it is the same when training goes on.

    Args:
        classes: how many there are.
        side: rows and columns of cells.
        num: boxes of a cell.
        box_scale: factor of boxes.
        object_scale: factor of objectness where there is a truth.
        background_scale: factor of objectness elsewhere.
        class_scale: factor of classes.
        roots: boxes hold the roots of width and height.
        rescore: objectness follows the overlap.
        forced: small truths belong to the second box of a cell, others to the first.
        drawn: the box of a truth is drawn at first.
        least: truths with a smaller side are left out.
    """

    classes: int
    side: int
    num: int
    box_scale: float = 1.0
    object_scale: float = 1.0
    background_scale: float = 1.0
    class_scale: float = 1.0
    roots: bool = False
    rescore: bool = False
    forced: bool = False
    drawn: bool = False
    least: float = 0.005

    def deltas(self, *inputs: Tensor, seen: int = 0) -> Deltas:
        """Return the delta and the reported cost."""
        raw, output, truth = inputs
        outputs = output.detach().double().cpu().numpy().reshape(len(output), -1)
        found = np.zeros_like(outputs)
        listed = truth.detach().cpu().numpy()
        for values, delta, rows in zip(outputs, found, listed, strict=True):
            x, d = self._parts(values), self._parts(delta)
            d.objects[:] = -self.background_scale * x.objects
            random = np.random.default_rng([seen, zlib.crc32(rows[rows.any(-1)].tobytes())])
            for cell, one in self._truths(rows, random).items():
                self._visit(x, d, cell, one, random if seen < EARLY else None)
        own = torch.from_numpy(found).to(raw).reshape(raw.shape)
        return Deltas(own, own.double().square().sum().float())

    def _parts(self, vector: np.ndarray) -> _Parts:
        """Return the parts of an image's vector, as views."""
        cells = self.side**2
        first, second = cells * self.classes, cells * (self.classes + self.num)
        return _Parts(
            vector[:first].reshape(cells, self.classes),
            vector[first:second].reshape(cells, self.num),
            vector[second:].reshape(cells, self.num, 4),
        )

    def _truths(self, rows: np.ndarray, random: np.random.Generator) -> dict[int, _Truth]:
        """Return cell → what it is told, for the cells that hold something."""
        if rows.ndim == 1:
            cells = rows.astype(np.float64).reshape(self.side**2, 5 + self.classes)
            return {
                int(cell): _Truth(cells[cell, 1:-4], cells[cell, -4:])
                for cell in np.flatnonzero(cells[:, 0].astype(int))
            }
        found: dict[int, _Truth] = {}
        used = rows[(rows[:, 2:4] >= np.float32(self.least)).all(1)]
        for row in random.permutation(used):
            place = row[:2] * np.float32(self.side)
            column, line = int(place[0]), int(place[1])
            cell = column + line * self.side
            if not (0 <= column < self.side and 0 <= line < self.side) or cell in found:
                continue
            told = np.zeros(self.classes)
            if 0 <= int(row[4]) < self.classes:
                told[int(row[4])] = 1.0
            box = np.array([place[0] - column, place[1] - line, row[2], row[3]], np.float64)
            found[cell] = _Truth(told, box)
        return found

    def _visit(
        self, x: _Parts, d: _Parts, cell: int, one: _Truth, random: np.random.Generator | None
    ) -> None:
        """Change the deltas of a cell that holds a truth.

        Args:
            x: the outputs of the image.
            d: its deltas.
            cell: number of the cell.
            one: its truth.
            random: decides which box belongs to the truth, if it is drawn; None where it is not.
        """
        d.classes[cell] = self.class_scale * (one.classes - x.classes[cell])
        truth = self._box(one.box)
        boxes = [self._box(box, rooted=self.roots) for box in x.boxes[cell]]
        best = self._best(boxes, truth)
        if self.forced:
            best = int(truth.w * truth.h < SMALL)
        if self.drawn and random is not None:
            best = int(random.integers(self.num))
        if best is None:
            return
        aim = overlap(boxes[best], truth) if self.rescore else 1.0
        d.objects[cell, best] = self.object_scale * (aim - x.objects[cell, best])
        wanted = one.box.copy()
        if self.roots:
            wanted[2:] = np.sqrt(wanted[2:])
        d.boxes[cell, best] = self.box_scale * (wanted - x.boxes[cell, best])

    def _box(self, numbers: np.ndarray, *, rooted: bool = False) -> Box:
        """Return a box as overlaps are measured: in parts of the image, from its cell's corner."""
        x, y, w, h = (float(number) for number in numbers)
        return Box(x / self.side, y / self.side, w * w if rooted else w, h * h if rooted else h)

    def _best(self, boxes: list[Box], truth: Box) -> int | None:
        """Return the box that overlaps the truth most, or else is nearest; None where all are far.

        Where no box has overlapped so far, the nearest one is the best; the first that overlaps
        takes its place.
        """
        best, most, nearest = None, 0.0, FAR
        for place, box in enumerate(boxes):
            near = overlap(box, truth)
            away = math.dist(box, truth)
            if most > 0 or near > 0:
                if near > most:
                    best, most = place, near
            elif away < nearest:
                best, nearest = place, away
        return best
