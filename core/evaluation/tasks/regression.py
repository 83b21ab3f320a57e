"""Regression: the values that an output should have."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.base import Dataset, first_batch
from ...data.targets import Targets
from ...errors import DataError
from ...ir.heads import output_of_size
from ...ir.network import Network
from ..metrics.metric import Metric
from ..metrics.values import ValueMetric, Values
from ..task import TASKS, USUAL, Task, TaskOptions

__all__ = ["Regression"]


@dataclass(frozen=True)
class Regression(Task):
    """The share of the targets' variance that is explained.

    Args:
        output: the output with the values.
    """

    output: str

    name = "regression"
    summary = "share of the variance of the target values that is explained"
    metric = Values.metric
    points = 100.0
    target_kind = "values"

    @classmethod
    def of(cls, network: Network, dataset: Dataset, options: TaskOptions = USUAL) -> Regression:
        """Return the task of a network that computes values; their size names the output.

        Raises:
            DataError: no output has as many values as the targets.
        """
        if options.output is not None:
            return cls(options.output)
        values = first_batch(dataset).values
        if values is None:
            raise DataError(f"{dataset.name} has no values to compute")
        return cls(output_of_size(network, values.shape[1:]))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values."""
        return (self.output,)

    def make_metric(self) -> ValueMetric:
        """Return a fresh metric."""
        return ValueMetric(self.output)

    def best_case(self, original: Metric, targets: Targets) -> Metric:  # noqa: ARG002
        """Return that there is no error."""
        assert isinstance(original, ValueMetric)
        return original.all_right()


TASKS.add(Regression.name, entry=Regression)
