"""Mean average precision in pieces: images are matched where they are computed.

The figure is that of :class:`~..metrics.detection.DetectionMeter`, to the last bit; a test compares
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.labels import check_objects
from ..data.targets import Targets
from ..engine.session import Arrays
from ..evaluation.metrics.decode import Detections, decode
from ..evaluation.metrics.detection import FOUND, MATCH, Matches, matched, same_class_overlaps
from ..ir.heads import BoxHead, box_heads, no_head
from ..ir.network import Network

__all__ = ["ObjectJudge"]


@dataclass(frozen=True, slots=True)
class ObjectJudge:
    """Mean average precision at overlap 0.5. Evidence: detections that are matched already."""

    heads: tuple[BoxHead, ...]
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

    def evidence(self, outputs: Arrays, answers: Targets) -> Matches:
        """Decode boxes and match them with the objects of each image."""
        assert answers.frames is not None
        assert answers.objects is not None
        classes = self.heads[0].classes
        check_objects(answers.objects, classes, answers.places)
        found = []
        for one, frame, truth in zip(
            decode(self.heads, outputs), answers.frames, answers.objects, strict=True
        ):
            placed = Detections(frame.to_image(one.boxes), one.scores, one.classes)
            table = same_class_overlaps(placed, truth)
            kinds = matched(table, truth.ignored, MATCH)
            found.append(Matches(one.classes, one.scores, kinds))
        return Matches.joined(found)

    def value(self, evidence: Sequence[Matches], answers: Sequence[Targets]) -> float:
        """Return the mean average precision of the classes that occur, 0…1."""
        positives: dict[int, int] = {}
        for one in answers:
            for truth in one.objects or ():
                for number in truth.classes[~truth.ignored].tolist():
                    positives[number] = positives.get(number, 0) + 1
        found = Matches.joined(evidence)
        precisions = [found.curve(number, positives[number]).area() for number in sorted(positives)]
        return float(np.mean(precisions)) if precisions else 0.0

    def loss(
        self, evidence: Sequence[Matches], baseline: Sequence[Matches], answers: Sequence[Targets]
    ) -> float:
        """Return the figure of the baseline less that of the evidence."""
        return self.value(baseline, answers) - self.value(evidence, answers)

    def perfect(self, baseline: Matches, answers: Targets) -> Matches:  # noqa: ARG002
        """Return that every object is found, before any wrong detection."""
        classes = np.concatenate(
            [truth.classes[~truth.ignored] for truth in answers.objects or ()] or [np.zeros(0, int)]
        )
        return Matches(
            classes=classes,
            scores=np.full(len(classes), np.inf),
            kinds=np.full(len(classes), FOUND, np.uint8),
        )
