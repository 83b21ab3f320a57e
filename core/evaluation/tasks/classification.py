"""Classification: one class a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...data.base import Dataset
from ...data.targets import Targets
from ...ir.heads import classifier_output
from ...ir.network import Network
from ..metrics.classification import Accuracy, AccuracyMetric, FullAccuracyMetric
from ..metrics.metric import Metric
from ..task import TASKS, USUAL, Task, TaskOptions

__all__ = ["Classification"]


@dataclass(frozen=True)
class Classification(Task):
    """The share of samples whose class has the highest score.

    Args:
        output: the output with the scores of the classes.
        top: for each k, count the labels among the k highest scores, too.
        best: the figure counts the labels among so many of the highest scores.
    """

    output: str
    top: tuple[int, ...] = (1, 5)
    best: int = 1

    name = "classification"
    summary = "share of samples whose label has the highest score"
    metric = Accuracy.metric
    unit = "%"
    points = 100.0
    target_kind = "label"

    def __post_init__(self) -> None:
        if self.best != 1:
            object.__setattr__(self, "metric", f"Top-{self.best} accuracy")

    @classmethod
    def of(
        cls,
        network: Network,
        dataset: Dataset,  # noqa: ARG003
        options: TaskOptions = USUAL,
    ) -> Classification:
        """Return the task of a classifier.

        Raises:
            DataError: the network is none.
        """
        return cls(options.output or classifier_output(network), tuple(options.top))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The scores of the classes."""
        return (self.output,)

    def label_count(self, network: Network) -> int | None:
        """Return the length of the vector of scores."""
        shape = network.outputs[self.output]
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        return math.prod(sizes) if len(sizes) == len(shape) - 1 else None

    def make_metric(self) -> AccuracyMetric:
        """Return a fresh metric of the accuracy."""
        return AccuracyMetric(self.output, self.best)

    def make_full_metric(self) -> FullAccuracyMetric:
        """Return a fresh metric of the best k, of each class and of the loss, too."""
        return FullAccuracyMetric(self.output, self.top)

    def best_case(self, original: Metric, targets: Targets) -> Metric:  # noqa: ARG002
        """Return that all samples are right."""
        assert isinstance(original, AccuracyMetric)
        return original.all_right()


TASKS.add(Classification.name, entry=Classification)
