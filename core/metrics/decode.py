"""From the outputs of a detector to boxes: one decoder a kind of head.

Boxes come out as x0, y0, x1, y1 in parts of the network's input, classes counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, UnsupportedError
from ..ir.network import Head, Network
from .boxes import corners, suppressed

__all__ = [
    "DECODERS",
    "OVERLAP",
    "SCORE",
    "Detections",
    "box_heads",
    "decode",
]

SCORE = 0.005
"""Detections below this score are left out. Source: detector.c `validate_detector_map`."""

OVERLAP = 0.45
"""Boxes of a class that overlap by more are suppressed. Source: the same."""

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


def box_heads(network: Network) -> tuple[Head, ...]:
    """Return the heads of a network that find boxes."""
    return tuple(head for head in network.heads if head.kind in DECODERS)


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
            boxes, scores = DECODERS[head.kind](outputs, head.settings, head.output, sample)
            places, classes = np.nonzero(scores > least)
            parts.append(Detections(boxes[places], scores[places, classes], classes))
        together = Detections.joined(parts)
        found.append(_thinned(together, limit, settings) if suppress else together)
    return found


def _thinned(found: Detections, overlap: float, settings: Settings) -> Detections:
    """Suppress class by class, and keep as many as the head allows."""
    most = int(settings.get("nms_top_k", -1))
    eta = float(settings.get("eta", 1.0))
    limit = int(settings.get("keep_top_k", -1))
    kept = []
    for number in np.unique(found.classes):
        places = np.flatnonzero(found.classes == number)
        if 0 <= most < len(places):
            places = places[np.argsort(-found.scores[places], kind="stable")[:most]]
        left = suppressed(found.boxes[places], found.scores[places], overlap, eta=eta)
        kept.append(places[left])
    result = found.chosen(np.concatenate(kept)) if kept else found
    if 0 <= limit < len(result):
        result = result.chosen(np.sort(np.argsort(-result.scores, kind="stable")[:limit]))
    return result


def _anchors(
    outputs: Outputs, settings: Settings, name: str, sample: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid of anchors: x and y have their sigmoids, w and h are exponents or roots.

    Source: AlexeyAB 2019, layers with masks, `get_…_box` and `get_…_detections`.
    """
    return _grid(outputs, settings, name, sample, (0, 1, 2, 3, 4), 5)


def _uncertain_anchors(
    outputs: Outputs, settings: Settings, name: str, sample: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decode anchors with deviations; scores are lowered by their mean.

    Source: AlexeyAB 2020, `get_gaussian_…_detections`.
    """
    cells = _cells(outputs[name][sample], 9 + settings["classes"])
    certainty = 1 - cells[:, [1, 3, 5, 7]].mean(axis=1)
    boxes, scores = _grid(outputs, settings, name, sample, (0, 2, 4, 6, 8), 9)
    return boxes, scores * certainty.reshape(-1, 1)


def _cells(array: np.ndarray, entries: int) -> np.ndarray:
    """Return an output C×H×W as anchors × entries × H × W."""
    if array.ndim != 3 or array.shape[0] % entries:
        raise DataError(
            f"the head has {entries} numbers an anchor, its output is "
            f"{'×'.join(map(str, array.shape))}"
        )
    return array.reshape(-1, entries, *array.shape[1:]).astype(np.float64)


def _grid(
    outputs: Outputs,
    settings: Settings,
    name: str,
    sample: int,
    places: tuple[int, ...],
    first_class: int,
) -> tuple[np.ndarray, np.ndarray]:
    cells = _cells(outputs[name][sample], first_class + settings["classes"])
    high, wide = cells.shape[2:]
    mask = settings.get("mask") or range(cells.shape[0])
    sides = np.array([settings["anchors"][k] for k in mask], np.float64)
    x, y, w, h, objectness = (cells[:, place] for place in places)
    with np.errstate(over="ignore"):
        sizes = (w**2 * 4, h**2 * 4) if settings["new_coords"] else (np.exp(w), np.exp(h))
    centres = np.stack(
        [
            (x + np.arange(wide)) / wide,
            (y + np.arange(high)[:, None]) / high,
            sizes[0] * sides[:, 0, None, None] / settings["width"],
            sizes[1] * sides[:, 1, None, None] / settings["height"],
        ],
        axis=-1,
    )
    scores = objectness[:, None] * cells[:, first_class:]
    return corners(centres.reshape(-1, 4)), _rows(scores)


def _rows(scores: np.ndarray) -> np.ndarray:
    """Return anchors × classes × H × W as one row of classes a box."""
    return np.asarray(scores.transpose(0, 2, 3, 1).reshape(-1, scores.shape[1]))


def _region(
    outputs: Outputs, settings: Settings, name: str, sample: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a grid of anchors measured in cells. Source: region_layer.c `get_region_detections`.

    Raises:
        UnsupportedError: the classes form a tree.
    """
    if settings.get("tree"):
        raise UnsupportedError("detections with a tree of classes are not decoded")
    array = outputs[name][sample]
    if settings["layout"] == "NHWC":
        array = array.transpose(2, 0, 1)
    coords, classes = settings["coords"], settings["classes"]
    cells = _cells(array, coords + 1 + classes)
    high, wide = cells.shape[2:]
    x, y, w, h = (cells[:, k] for k in range(4))
    if settings["xy_sigmoid"]:
        x, y = _sigmoid(x), _sigmoid(y)
    sides = np.array(settings["anchors"], np.float64)
    with np.errstate(over="ignore"):
        centres = np.stack(
            [
                (x + np.arange(wide)) / wide,
                (y + np.arange(high)[:, None]) / high,
                np.exp(w) * sides[:, 0, None, None] / wide,
                np.exp(h) * sides[:, 1, None, None] / high,
            ],
            axis=-1,
        )
    told = cells[:, coords + 1 :]
    scores = told if settings["background"] else cells[:, coords, None] * told
    return corners(centres.reshape(-1, 4)), _rows(scores)


def _cell_boxes(
    outputs: Outputs, settings: Settings, name: str, sample: int
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
    outputs: Outputs, settings: Settings, _name: str, sample: int
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


Decoder = Callable[[Outputs, Settings, str, int], tuple[np.ndarray, np.ndarray]]

DECODERS: dict[str, Decoder] = {
    "anchors": _anchors,
    "uncertain anchors": _uncertain_anchors,
    "region": _region,
    "detection": _cell_boxes,
    "priors": _priors,
}
"""Kind of head → what decodes one sample: boxes (n×4) and the scores of all classes (n×classes)."""
