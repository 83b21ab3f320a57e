"""From the outputs of a detector to boxes: one decoder a kind of head.

Boxes come out as x0, y0, x1, y1 in parts of the network's input, classes counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import DataError, UnsupportedError
from ...ir.network import Head
from .boxes import Apart, corners, suppressed, suppressed_together
from .confidence import BOXES
from .tree import absolute, deepest, last_sure

__all__ = [
    "DECODERS",
    "OVERLAP",
    "SCORE",
    "Detections",
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
Settings = Mapping[str, Any]


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
    heads: Sequence[Head],
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
    settings = heads[0].settings
    least = score if score is not None else float(settings.get("confidence_threshold", SCORE))
    limit = overlap if overlap is not None else float(settings.get("nms_threshold", OVERLAP))
    count = len(outputs[heads[0].output])
    found = []
    for sample in range(count):
        parts = []
        for head in heads:
            boxes, scores = DECODERS[head.kind](outputs, head.settings, head.output, sample, least)
            places, classes = np.nonzero(scores > least)
            parts.append(Detections(boxes[places], scores[places, classes], classes))
        together = Detections.joined(parts)
        found.append(_kept(together, limit, settings) if suppress else together)
    return found


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


def _kept(found: Detections, overlap: float, settings: Settings) -> Detections:
    """Suppress class by class, and keep as many as the head allows."""
    most = int(settings.get("nms_top_k", -1))
    limit = int(settings.get("keep_top_k", -1))
    eta = float(settings.get("eta", 1.0))
    result = thinned(found, overlap, most=most if most >= 0 else None, eta=eta)
    if 0 <= limit < len(result):
        result = result.chosen(np.sort(np.argsort(-result.scores, kind="stable")[:limit]))
    return result


def _anchors(
    outputs: Outputs, settings: Settings, name: str, sample: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid of anchors: x and y have their sigmoids, w and h are exponents or roots.

    Source: AlexeyAB 2019, layers with masks, `get_…_box` and `get_…_detections`.
    """
    grid = _Grid.of(outputs[name][sample], *BOXES["anchors"](settings), least)
    values = grid.values
    return grid.in_pixels(values[:, :4], settings), values[:, 4:5] * values[:, 5:]


def _uncertain_anchors(
    outputs: Outputs, settings: Settings, name: str, sample: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode anchors with deviations; scores are lowered by their mean.

    Source: AlexeyAB 2020, `get_gaussian_…_detections`.
    """
    grid = _Grid.of(outputs[name][sample], *BOXES["uncertain anchors"](settings), least)
    values = grid.values
    certainty = 1 - values[:, [1, 3, 5, 7]].mean(axis=1, keepdims=True)
    scores = values[:, 8:9] * values[:, 9:] * certainty
    return grid.in_pixels(values[:, [0, 2, 4, 6]], settings), scores


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
    def of(cls, array: np.ndarray, entries: int, objectness: int, least: float) -> _Grid:
        """Take the boxes with an objectness above `least` out of an output C×H×W.

        A score is never more than the objectness, and the reference looks at no other box either.

        Raises:
            DataError: the channels are no anchors of `entries` numbers.
        """
        if array.ndim != 3 or array.shape[0] % entries:
            raise DataError(
                f"the head has {entries} numbers an anchor, its output is "
                f"{'×'.join(map(str, array.shape))}"
            )
        cells = array.reshape(-1, entries, *array.shape[1:])
        # Not compared as float32, to which the limit would be rounded.
        chosen = np.nonzero(cells[:, objectness].astype(np.float64) > least)
        anchor, row, column = chosen
        values = cells[anchor, :, row, column].astype(np.float64)
        return cls(values, anchor, row, column, array.shape[1], array.shape[2])

    def in_pixels(self, boxes: np.ndarray, settings: Settings) -> np.ndarray:
        """Return corners from x, y, w, h, where anchors are measured in pixels of the input."""
        mask = settings.get("mask") or range(int(self.anchor.max(initial=0)) + 1)
        sides = np.array([settings["anchors"][k] for k in mask], np.float64)[self.anchor]
        sizes = boxes[:, 2:]
        with np.errstate(over="ignore"):
            sizes = (sizes**2 * 4 if settings["new_coords"] else np.exp(sizes)) * sides
        return self._corners(boxes[:, :2], sizes / [settings["width"], settings["height"]])

    def in_cells(self, boxes: np.ndarray, settings: Settings) -> np.ndarray:
        """Return corners from x, y, w, h, where anchors are measured in cells."""
        sides = np.array(settings["anchors"], np.float64)[self.anchor]
        with np.errstate(over="ignore"):
            sizes = np.exp(boxes[:, 2:]) * sides / [self.wide, self.high]
        return self._corners(boxes[:, :2], sizes)

    def _corners(self, places: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        cells = np.stack([self.column, self.row], axis=1)
        middles = (places + cells) / [self.wide, self.high]
        return corners(np.concatenate([middles, sizes], axis=1))


def _region(
    outputs: Outputs, settings: Settings, name: str, sample: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid of anchors measured in cells. Source: region_layer.c `get_region_detections`.

    Where the classes form a tree, a box has at most one of them.
    """
    array = outputs[name][sample]
    one_after_another = settings["layout"] == "NHWC"
    if one_after_another:
        array = array.transpose(2, 0, 1)
    coords, tree = settings["coords"], settings["tree"]
    # What is no probability may be more than 1, and the score more than the objectness.
    bounded = tree or (
        not settings["background"] and (settings["softmax"] or not one_after_another)
    )
    grid = _Grid.of(array, *BOXES["region"](settings), least if bounded else -np.inf)
    boxes = grid.values[:, :4].copy()
    if settings["xy_sigmoid"]:
        boxes[:, :2] = _sigmoid(boxes[:, :2])
    objectness = grid.values[:, coords, None]
    told = grid.values[:, coords + 1 :]
    if tree:
        scores = _tree_scores(objectness, told, tree, own_probability=one_after_another)
    else:
        scores = told if settings["background"] else objectness * told
    return grid.in_cells(boxes, settings), scores


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


def _cell_boxes(
    outputs: Outputs, settings: Settings, name: str, sample: int, _least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a vector of classes, objectness and boxes of each cell.

    Source: detection_layer.c `get_detection_detections`.
    """
    vector = outputs[name][sample].reshape(-1).astype(np.float64)
    side, num, classes = settings["side"], settings["num"], settings["classes"]
    cells = side * side
    told = vector[: cells * classes].reshape(cells, 1, classes)
    objectness = vector[cells * classes : cells * (classes + num)].reshape(cells, num, 1)
    raw = vector[cells * (classes + num) :].reshape(cells, num, settings["coords"])
    column, row = np.arange(cells) % side, np.arange(cells) // side
    power = 2 if settings["sqrt"] else 1
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


def _priors(
    outputs: Outputs, settings: Settings, _name: str, sample: int, _least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decode offsets from prior boxes. Source: bbox_util.cpp `DecodeBBox` of SSD.

    The background class is left out, and the classes behind it move up.

    Raises:
        DataError: the outputs do not fit each other.
        UnsupportedError: boxes are told per class.
    """
    if not settings["share_location"]:
        raise UnsupportedError("boxes that differ from class to class are not decoded")
    given = outputs[settings["priors"]].reshape(-1, 2, outputs[settings["priors"]].size // 2)
    priors, variances = given[0].reshape(2, -1, 4).astype(np.float64)
    offsets = outputs[settings["locations"]][sample].reshape(-1, 4).astype(np.float64)
    scores = outputs[settings["scores"]][sample].reshape(-1, settings["classes"])
    if not len(priors) == len(offsets) == len(scores):
        raise DataError(
            f"{len(priors)} priors, but {len(offsets)} locations and {len(scores)} scores"
        )
    if settings["variance_encoded"]:
        variances = np.ones_like(variances)
    kind = settings["code_type"]
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
    background = settings["background"]
    if 0 <= background < settings["classes"]:
        scores = np.delete(scores, background, axis=1)
    return boxes, scores.astype(np.float64)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


Decoder = Callable[[Outputs, Settings, str, int, float], tuple[np.ndarray, np.ndarray]]

DECODERS: dict[str, Decoder] = {
    "anchors": _anchors,
    "uncertain anchors": _uncertain_anchors,
    "region": _region,
    "detection": _cell_boxes,
    "priors": _priors,
}
"""Kind of head → what decodes one sample: boxes (n×4) and the scores of all classes (n×classes).

Boxes may be left out where no score can be above the number given last."""
