"""Mean average precision in pieces: images are matched where they are computed.

The figure is that of :class:`~..metrics.detection.DetectionMeter`, to the last bit; a test compares
them. Suppression and matching look at all classes of an image at once, since an analysis does
them for every image at every point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Objects
from ..data.labels import check_objects
from ..ir.network import Head, Network
from ..metrics.boxes import overlaps
from ..metrics.decode import box_heads, decode, no_head
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
            raise no_head(network)
        return ObjectJudge(heads, tuple(network.outputs))

    def evidence(self, outputs: Arrays, answers: Answers) -> Matches:
        """Decode boxes and match them with the objects of each image."""
        assert answers.frames is not None
        assert answers.objects is not None
        classes = int(self.heads[0].settings["classes"])
        check_objects(answers.objects, classes, answers.places)
        found = []
        for one, frame, truth in zip(
            decode(self.heads, outputs), answers.frames, answers.objects, strict=True
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
