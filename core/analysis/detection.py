"""Mean average precision in pieces: images are matched where they are computed.

The figure is that of :class:`~..metrics.detection.DetectionMeter`, to the last bit; a test compares
them. Suppression and matching look at all classes of an image at once, since an analysis does
them for every image at every point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..data import Objects
from ..errors import DataError
from ..ir.network import Head, Network
from ..metrics.boxes import AT_ONCE, overlaps
from ..metrics.decode import OVERLAP, Detections, box_heads, decode
from ..metrics.detection import average_precision
from ..session import Arrays
from .shards import Answers

__all__ = ["Matches", "ObjectJudge"]

MATCH = 0.5
"""Intersection over union that makes a detection right, as `evaluate` counts by default."""

MISSED, FOUND, IGNORED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Matches:
    """Detections of some images, image by image: class, score, and whether each is right.

    `kinds` is 0 for wrong, 1 for right, 2 for what does not count.
    """

    classes: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True, slots=True)
class ObjectJudge:
    """Mean average precision at overlap 0.5. Evidence: detections that are matched already."""

    heads: tuple[Head, ...]
    outputs: tuple[str, ...]
    metric = "mAP"

    @staticmethod
    def of(network: Network) -> ObjectJudge:
        """Return the judge of a detector.

        Raises:
            DataError: the network is none.
        """
        heads = box_heads(network)
        if not heads:
            raise DataError(
                f"the labels are objects, but network '{network.name}' has no head that finds any"
            )
        return ObjectJudge(heads, tuple(network.outputs))

    def evidence(self, outputs: Arrays, answers: Answers) -> Matches:
        """Decode boxes and match them with the objects of each image."""
        assert answers.frames is not None
        assert answers.objects is not None
        self._check(answers.objects)
        found = []
        for one, frame, truth in zip(
            self._decoded(outputs), answers.frames, answers.objects, strict=True
        ):
            one = one.chosen(np.argsort(-one.scores, kind="stable"))
            found.append((one, matched(frame.to_image(one.boxes), one.classes, truth)))
        return Matches(
            classes=np.concatenate([one.classes for one, _ in found]),
            scores=np.concatenate([one.scores for one, _ in found]),
            kinds=np.concatenate([kinds for _, kinds in found]),
        )

    def value(self, evidence: Sequence[Matches], answers: Sequence[Answers]) -> float:
        """Return the mean average precision of the classes that occur, 0…1."""
        positives: dict[int, int] = {}
        for one in answers:
            for truth in one.objects or ():
                for number in truth.classes[~truth.ignored].tolist():
                    positives[number] = positives.get(number, 0) + 1
        classes = np.concatenate([one.classes for one in evidence])
        scores = np.concatenate([one.scores for one in evidence])
        kinds = np.concatenate([one.kinds for one in evidence])
        precisions = []
        for number in sorted(positives):
            mine = classes == number
            precisions.append(
                average_precision(scores[mine], kinds[mine], positives[number], "area")
            )
        return float(np.mean(precisions)) if precisions else 0.0

    def loss(
        self, evidence: Sequence[Matches], baseline: Sequence[Matches], answers: Sequence[Answers]
    ) -> float:
        """Return the figure of the baseline less that of the evidence."""
        return self.value(baseline, answers) - self.value(evidence, answers)

    def perfect(self, baseline: Matches, answers: Answers) -> Matches:  # noqa: ARG002
        """Return that every object is found, before any wrong detection."""
        classes = np.concatenate(
            [truth.classes[~truth.ignored] for truth in answers.objects or ()] or [np.zeros(0, int)]
        )
        return Matches(
            classes=classes,
            scores=np.full(len(classes), np.inf),
            kinds=np.full(len(classes), FOUND, np.uint8),
        )

    def _check(self, objects: Sequence[Objects]) -> None:
        classes = int(self.heads[0].settings["classes"])
        highest = max((int(o.classes.max()) for o in objects if o.classes.size), default=0)
        if highest >= classes:
            raise DataError(
                f"there is an object of class {highest}, but the network tells {classes} classes "
                f"apart (0…{classes - 1})"
            )

    def _decoded(self, outputs: Arrays) -> list[Detections]:
        settings = self.heads[0].settings
        if (
            int(settings.get("nms_top_k", -1)) >= 0
            or int(settings.get("keep_top_k", -1)) >= 0
            or float(settings.get("eta", 1.0)) != 1
        ):
            return decode(self.heads, outputs)
        limit = float(settings.get("nms_threshold", OVERLAP))
        found = decode(self.heads, outputs, suppress=False)
        if any(len(one) > AT_ONCE for one in found):
            return decode(self.heads, outputs)
        return [thinned(one, limit) for one in found]


def thinned(found: Detections, limit: float) -> Detections:
    """Return what greedy suppression leaves, class by class, best first.

    Args:
        found: boxes of one image.
        limit: a box goes if it overlaps a better one of its class that is kept by more.
    """
    ordered = found.chosen(np.lexsort((-found.scores, found.classes)))
    starts = np.flatnonzero(np.diff(ordered.classes, prepend=-1, append=-1))
    left = np.ones(len(ordered), bool)
    for start, stop in pairwise(starts.tolist()):
        if stop - start > 1:
            left[start:stop] = _left(ordered.boxes[start:stop], limit)
    return ordered.chosen(left)


def _left(boxes: np.ndarray, limit: float) -> np.ndarray:
    """Return which of the boxes of one class are left, best first.

    The same numbers as :func:`~..metrics.boxes.overlaps`, by columns, which small arrays like.
    """
    x0, y0, x1, y1 = boxes.T
    wide = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
    high = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
    both = np.maximum(wide, 0) * np.maximum(high, 0)
    area = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    union = area[:, None] + area - both
    with np.errstate(invalid="ignore", divide="ignore"):
        worse = np.triu((both / union > limit) & (union > 0), 1)
    left = np.ones(len(boxes), bool)
    for place in np.flatnonzero(worse.any(axis=1)).tolist():
        if left[place]:
            left &= ~worse[place]
    return left


def matched(boxes: np.ndarray, classes: np.ndarray, truth: Objects) -> np.ndarray:
    """Return for each detection of an image, best first, whether it is right.

    Each belongs to the object of its class that it overlaps most; the first one at an object is
    right, the others are wrong.
    """
    kinds = np.full(len(boxes), MISSED, np.uint8)
    if not len(boxes) or not len(truth.classes):
        return kinds
    table = overlaps(boxes, truth.boxes)
    table[classes[:, None] != truth.classes[None, :]] = -1.0
    best = table.argmax(axis=1)
    near = table[np.arange(len(boxes)), best] >= MATCH
    off = near & truth.ignored[best]
    kinds[off] = IGNORED
    candidates = np.flatnonzero(near & ~off)
    _, first = np.unique(best[candidates], return_index=True)
    kinds[candidates[first]] = FOUND
    return kinds
