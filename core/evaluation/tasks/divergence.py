"""Without labels, classifiers: how far the classes are from those of the original."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.base import Dataset
from ...data.targets import Targets
from ...ir.heads import classifier_output
from ...ir.network import Network
from ..metrics.agreement import DivergenceMetric
from ..metrics.metric import Metric
from ..task import TASKS, USUAL, Task, TaskOptions

__all__ = ["Divergence"]


@dataclass(frozen=True)
class Divergence(Task):
    """KL(original ‖ network) of the classes, the mean over samples.

    Args:
        output: the output with the scores of the classes.
    """

    output: str

    name = "divergence"
    summary = "KL divergence of the classes from the original's, in nats"
    metric = DivergenceMetric.name
    unit = "nats"
    higher_is_better = False
    needs_original = True

    @classmethod
    def of(
        cls,
        network: Network,
        dataset: Dataset,  # noqa: ARG003
        options: TaskOptions = USUAL,
    ) -> Divergence:
        """Return the task of a classifier.

        Raises:
            DataError: the network is none.
        """
        return cls(options.output or classifier_output(network))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The scores of the classes."""
        return (self.output,)

    def make_metric(self) -> DivergenceMetric:
        """Return a fresh metric."""
        return DivergenceMetric(self.output)

    def best_case(self, original: Metric, targets: Targets) -> Metric:  # noqa: ARG002
        """Return that nothing diverges."""
        assert isinstance(original, DivergenceMetric)
        return original.all_right()


TASKS.add(Divergence.name, entry=Divergence)
