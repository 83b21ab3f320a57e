"""Detection: objects in boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...data.base import Dataset
from ...data.targets import Targets
from ...ir.heads import box_heads, no_head
from ...ir.network import Network
from ..metrics.detection import (
    MATCH,
    METRICS,
    DetectionResult,
    Finder,
    FullPrecisionMetric,
    PrecisionMetric,
)
from ..metrics.metric import Metric
from ..task import TASKS, USUAL, Task, TaskOptions

__all__ = ["Detection", "ElevenPoints", "PlainArea"]


@dataclass(frozen=True)
class Detection(Task):
    """Mean average precision, the area under the curve of Pascal VOC.

    Args:
        finder: how outputs become boxes.
        overlap: intersection over union that makes a detection right.
    """

    finder: Finder
    overlap: float = MATCH

    name = "detection"
    summary = "mean average precision of boxes (Pascal VOC)"
    metric = DetectionResult.metric
    unit = "%"
    points = 100.0
    target_kind = "objects"
    average: ClassVar[str] = "area"
    """What of the curves counts, one of :data:`~..metrics.detection.AVERAGES`."""

    @classmethod
    def of(
        cls,
        network: Network,
        dataset: Dataset,  # noqa: ARG003
        options: TaskOptions = USUAL,
    ) -> Detection:
        """Return the task of a detector.

        Raises:
            DataError: the network is none.
        """
        heads = box_heads(network)
        if not heads:
            raise no_head(network)
        finder = Finder(heads=heads, score=options.score, suppress=options.suppress)
        return cls(finder, options.overlap)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What boxes are made of."""
        return tuple(dict.fromkeys(name for head in self.finder.heads for name in head.reads))

    def label_count(self, network: Network) -> int | None:  # noqa: ARG002
        """Return how many classes the heads tell apart."""
        return self.finder.heads[0].classes

    def make_metric(self) -> PrecisionMetric:
        """Return a fresh metric of the mean average precision alone."""
        return PrecisionMetric(self.finder, self.overlap, self.average)

    def make_full_metric(self) -> FullPrecisionMetric:
        """Return a fresh metric of the figures of COCO and of each class, too."""
        return FullPrecisionMetric(self.finder, self.overlap)

    def best_case(self, original: Metric, targets: Targets) -> Metric:
        """Return that every object is found, before any wrong detection."""
        assert isinstance(original, PrecisionMetric)
        return original.best_case(targets.objects or ())


@dataclass(frozen=True)
class ElevenPoints(Detection):
    """Mean average precision as Pascal VOC had it until 2009."""

    average = "11 points"
    metric = METRICS[average]


@dataclass(frozen=True)
class PlainArea(Detection):
    """Mean average precision, the area under the curves themselves."""

    average = "integral"
    metric = METRICS[average]


TASKS.add(Detection.name, entry=Detection)
