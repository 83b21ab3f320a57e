"""From the outputs of a detector to boxes: one decoder a kind of head.

Boxes come out as x0, y0, x1, y1 in parts of the network's input, classes counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import pairwise

import numpy as np

from ...errors import DataError, UnsupportedError
from ...ir.heads import AnchorHead, BoxHead, CellHead, GridHead, PriorHead, RegionHead
from .boxes import Apart, corners, suppressed, suppressed_together
from .tree import absolute, deepest, last_sure

__all__ = [
    "OVERLAP",
    "SCORE",
    "Detections",
    "boxes_and_scores",
    "decode",
    "ranks",
    "thinned",
]

SCORE = 0.005
"""Detections below this score are left out. Source: detector.c `validate_detector_map`."""

OVERLAP = 0.45
"""Boxes of a class that overlap by more are suppressed. Source: the same."""

CROWDED = 20_000
"""From so many boxes of all classes on, overlaps are computed once for all classes where these
share their boxes. Networks that are hardly trained find every box of every class."""

FEW = 128
"""Up to so many boxes of all classes, all overlaps are computed, of boxes of two classes, too: that
takes less time than to begin anew for each class."""

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes found in one image: n×4 corners, n scores, n classes; best first within a class."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def joined(parts: Sequence[Detections]) -> Detections:
        """Return the boxes of several heads as one."""
        if not parts:
            return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        return Detections(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.classes for part in parts]),
        )

    def chosen(self, places: np.ndarray) -> Detections:
        """Return some of the boxes."""
        return Detections(self.boxes[places], self.scores[places], self.classes[places])


def decode(
    heads: Sequence[BoxHead],
    outputs: Outputs,
    *,
    score: float | None = None,
    overlap: float | None = None,
    suppress: bool = True,
) -> list[Detections]:
    """Return what a detector found in each sample of a batch.

    Args:
        heads: of the network (:func:`box_heads`).
        outputs: every output by its name, with the samples along axis 0.
        score: leave out what scores not more; None for what the head says, or :data:`SCORE`.
        overlap: suppress boxes of a class that overlap a better one by more; None for what the
            head says, or :data:`OVERLAP`.
        suppress: False to return all boxes.

    Raises:
        DataError: there are no such heads, or an output has another shape than the head says.
        UnsupportedError: a head cannot be decoded.
    """
    if not heads:
        raise DataError("the network has no head that finds boxes")
    first = heads[0]
    least = _first_of(score, first.confidence_threshold, SCORE)
    limit = _first_of(overlap, first.nms_threshold, OVERLAP)
    count = len(outputs[first.output])
    found = []
    for sample in range(count):
        parts = []
        for head in heads:
            boxes, scores = boxes_and_scores(head, outputs, sample, least)
            places, classes = np.nonzero(scores > least)
            parts.append(Detections(boxes[places], scores[places, classes], classes))
        together = Detections.joined(parts)
        found.append(_kept(together, limit, first) if suppress else together)
    return found


def _first_of(asked: float | None, told: float | None, otherwise: float) -> float:
    """Return what the user asks for, else what the head says, else what is usual."""
    if asked is not None:
        return asked
    return otherwise if told is None else told


def thinned(
    found: Detections, overlap: float, *, most: int | None = None, eta: float = 1.0
) -> Detections:
    """Return what greedy suppression leaves of the boxes of one image, class by class, best first.

    Args:
        found: the boxes.
        overlap: a box goes if it overlaps a better one of its class that is kept by more.
        most: look only at so many boxes of a class, the best.
        eta: see :func:`~.boxes.suppressed`.
    """
    ordered = found.chosen(np.lexsort((-found.scores, found.classes)))
    if most is not None:
        ordered = ordered.chosen(ranks(ordered.classes) < most)
    if len(ordered) <= FEW and eta == 1:
        return ordered.chosen(suppressed_together(ordered.boxes, ordered.classes, overlap))
    starts = np.flatnonzero(np.diff(ordered.classes, prepend=-1, append=-1))
    left = np.zeros(len(ordered), bool)
    if len(ordered) > CROWDED and eta == 1:
        shared, numbers = np.unique(ordered.boxes, axis=0, return_inverse=True)
        if len(shared) < len(ordered) / 2:
            apart = Apart(shared, overlap)
            for start, end in pairwise(starts.tolist()):
                left[start + apart.suppressed(numbers.ravel()[start:end])] = True
            return ordered.chosen(left)
    for start, end in pairwise(starts.tolist()):
        if end - start == 1:
            left[start] = True
            continue
        part = slice(start, end)
        kept = suppressed(ordered.boxes[part], ordered.scores[part], overlap, eta=eta)
        left[start + kept] = True
    return ordered.chosen(left)


def ranks(classes: np.ndarray) -> np.ndarray:
    """Return the place of each detection among those of its class, which stand together.

    Args:
        classes: n.

    Returns:
        n, counted from 0.
    """
    places = np.arange(len(classes))
    first = np.diff(classes, prepend=-1) != 0
    return places - np.maximum.accumulate(np.where(first, places, 0))


def _kept(found: Detections, overlap: float, head: BoxHead) -> Detections:
    """Suppress class by class, and keep as many as the head allows."""
    most, limit = head.nms_top_k, head.keep_top_k
    result = thinned(found, overlap, most=most if most >= 0 else None, eta=head.eta)
    if 0 <= limit < len(result):
        result = result.chosen(np.sort(np.argsort(-result.scores, kind="stable")[:limit]))
    return result


@singledispatch
def boxes_and_scores(
    head: BoxHead,
    outputs: Outputs,  # noqa: ARG001
    sample: int,  # noqa: ARG001
    least: float,  # noqa: ARG001
) -> tuple[np.ndarray, np.ndarray]:
    """Decode one sample: return boxes (n×4) and the scores of all classes (n×classes).

    Each kind of head registers its own.

    Args:
        head: says what the numbers mean.
        outputs: every output by its name, with the samples along axis 0.
        sample: number of the sample in the batch.
        least: boxes may be left out where no score can be above this.

    Raises:
        DataError: an output has another shape than the head says.
        UnsupportedError: nobody registered this kind of head.
    """
    raise UnsupportedError(f"nothing decodes boxes of a {type(head).__name__}")


@boxes_and_scores.register
def _anchors(
    head: AnchorHead, outputs: Outputs, sample: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid of anchors: x and y have their sigmoids, w and h are exponents or roots.

    Where coordinates have deviations, scores are lowered by their mean.

    Source: AlexeyAB 2019, layers with masks, `get_…_box` and `get_…_detections`; AlexeyAB 2020,
    `get_gaussian_…_detections`.
    """
    grid = _Grid.of(outputs[head.output][sample], head, least)
    values, place = grid.values, head.objectness
    scores = values[:, place : place + 1] * values[:, place + 1 :]
    if not head.uncertain:
        return grid.in_pixels(values[:, :4], head), scores
    certainty = 1 - values[:, [1, 3, 5, 7]].mean(axis=1, keepdims=True)
    return grid.in_pixels(values[:, [0, 2, 4, 6]], head), scores * certainty


@dataclass(frozen=True, slots=True)
class _Grid:
    """The boxes of a grid of anchors that are worth a look.

    Args:
        values: boxes × entries, float64.
        anchor: of each box, its place among those of the layer.
        row: of the cell of each box.
        column: of the same.
        high: rows of the grid.
        wide: columns of the grid.
    """

    values: np.ndarray
    anchor: np.ndarray
    row: np.ndarray
    column: np.ndarray
    high: int
    wide: int

    @classmethod
    def of(cls, array: np.ndarray, head: GridHead, least: float) -> _Grid:
        """Take the boxes with an objectness above `least` out of an output C×H×W.

        A score is never more than the objectness, and the reference looks at no other box either.

        Raises:
            DataError: the channels are no anchors of as many numbers as the head says.
        """
        entries = head.entries
        if array.ndim != 3 or array.shape[0] % entries:
            raise DataError(
                f"the head has {entries} numbers an anchor, its output is "
                f"{'×'.join(map(str, array.shape))}"
            )
        cells = array.reshape(-1, entries, *array.shape[1:])
        # Not compared as float32, to which the limit would be rounded.
        chosen = np.nonzero(cells[:, head.objectness].astype(np.float64) > least)
        anchor, row, column = chosen
        values = cells[anchor, :, row, column].astype(np.float64)
        return cls(values, anchor, row, column, array.shape[1], array.shape[2])

    def in_pixels(self, boxes: np.ndarray, head: AnchorHead) -> np.ndarray:
        """Return corners from x, y, w, h, where anchors are measured in pixels of the input."""
        mask = head.mask or range(int(self.anchor.max(initial=0)) + 1)
        sides = np.array([head.anchors[k] for k in mask], np.float64)[self.anchor]
        sizes = boxes[:, 2:]
        with np.errstate(over="ignore"):
            sizes = (sizes**2 * 4 if head.new_coords else np.exp(sizes)) * sides
        return self._corners(boxes[:, :2], sizes / [head.width, head.height])

    def in_cells(self, boxes: np.ndarray, head: RegionHead) -> np.ndarray:
        """Return corners from x, y, w, h, where anchors are measured in cells."""
        sides = np.array(head.anchors, np.float64)[self.anchor]
        with np.errstate(over="ignore"):
            sizes = np.exp(boxes[:, 2:]) * sides / [self.wide, self.high]
        return self._corners(boxes[:, :2], sizes)

    def _corners(self, places: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        cells = np.stack([self.column, self.row], axis=1)
        middles = (places + cells) / [self.wide, self.high]
        return corners(np.concatenate([middles, sizes], axis=1))


@boxes_and_scores.register
def _region(
    head: RegionHead, outputs: Outputs, sample: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid of anchors measured in cells. Source: region_layer.c `get_region_detections`.

    Where the classes form a tree, a box has at most one of them.
    """
    array = outputs[head.output][sample]
    if head.rows_first:
        array = array.transpose(2, 0, 1)
    coords, tree = head.coords, head.tree
    # What is no probability may be more than 1, and the score more than the objectness.
    bounded = tree or (not head.background and (head.softmax or not head.rows_first))
    grid = _Grid.of(array, head, least if bounded else -np.inf)
    boxes = grid.values[:, :4].copy()
    if head.xy_sigmoid:
        boxes[:, :2] = _sigmoid(boxes[:, :2])
    objectness = grid.values[:, coords, None]
    told = grid.values[:, coords + 1 :]
    if tree:
        scores = _tree_scores(objectness, told, tree, own_probability=head.rows_first)
    else:
        scores = told if head.background else objectness * told
    return grid.in_cells(boxes, head), scores


def _tree_scores(
    objectness: np.ndarray, given: np.ndarray, parents: tuple[int, ...], *, own_probability: bool
) -> np.ndarray:
    """Return boxes × classes, at most one of which is not 0.

    Args:
        objectness: boxes × 1.
        given: boxes × classes, probabilities among siblings.
        parents: of the classes.
        own_probability: the last class that is sure enough counts, with its own probability
            (AlexeyAB); else the one a walk down the tree ends at, with the objectness (pjreddie).
    """
    probabilities = absolute(given.astype(np.float32), parents)
    if own_probability:
        return np.where(last_sure(probabilities), probabilities, 0.0)
    scores = np.zeros(given.shape)
    for box, row in enumerate(probabilities):
        scores[box, deepest(row, parents)] = objectness[box, 0]
    return scores


@boxes_and_scores.register
def _cells(
    head: CellHead, outputs: Outputs, sample: int, _least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a vector of classes, objectness and boxes of each cell.

    Source: detection_layer.c `get_detection_detections`.
    """
    vector = outputs[head.output][sample].reshape(-1).astype(np.float64)
    side, num, classes = head.side, head.num, head.classes
    cells = side * side
    told = vector[: cells * classes].reshape(cells, 1, classes)
    objectness = vector[cells * classes : cells * (classes + num)].reshape(cells, num, 1)
    raw = vector[cells * (classes + num) :].reshape(cells, num, head.coords)
    column, row = np.arange(cells) % side, np.arange(cells) // side
    power = 2 if head.sqrt else 1
    centres = np.stack(
        [
            (raw[..., 0] + column[:, None]) / side,
            (raw[..., 1] + row[:, None]) / side,
            raw[..., 2] ** power,
            raw[..., 3] ** power,
        ],
        axis=-1,
    )
    return corners(centres.reshape(-1, 4)), (objectness * told).reshape(-1, classes)


@boxes_and_scores.register
def _priors(
    head: PriorHead, outputs: Outputs, sample: int, _least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode offsets from prior boxes. Source: bbox_util.cpp `DecodeBBox` of SSD.

    The background class is left out, and the classes behind it move up.

    Raises:
        DataError: the outputs do not fit each other.
        UnsupportedError: boxes are told per class.
    """
    if not head.share_location:
        raise UnsupportedError("boxes that differ from class to class are not decoded")
    given = outputs[head.priors].reshape(-1, 2, outputs[head.priors].size // 2)
    priors, variances = given[0].reshape(2, -1, 4).astype(np.float64)
    offsets = outputs[head.output][sample].reshape(-1, 4).astype(np.float64)
    scores = outputs[head.scores][sample].reshape(-1, head.classes)
    if not len(priors) == len(offsets) == len(scores):
        raise DataError(
            f"{len(priors)} priors, but {len(offsets)} locations and {len(scores)} scores"
        )
    if head.variance_encoded:
        variances = np.ones_like(variances)
    kind = head.code_type
    size = priors[:, 2:] - priors[:, :2]
    if kind == "corner":
        boxes = priors + variances * offsets
    elif kind == "corner_size":
        boxes = priors + variances * offsets * np.tile(size, 2)
    else:
        middle = (priors[:, 2:] + priors[:, :2]) / 2
        with np.errstate(over="ignore"):
            boxes = corners(
                np.concatenate(
                    [
                        middle + variances[:, :2] * offsets[:, :2] * size,
                        np.exp(variances[:, 2:] * offsets[:, 2:]) * size,
                    ],
                    axis=1,
                )
            )
    background = head.background
    if 0 <= background < head.classes:
        scores = np.delete(scores, background, axis=1)
    return boxes, scores.astype(np.float64)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))
