"""Without labels, any network: how far its outputs are from those of the original."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.base import Dataset
from ...data.targets import Targets
from ...ir.network import Network
from ..metrics.agreement import ErrorMetric
from ..metrics.metric import Metric
from ..task import TASKS, USUAL, Task, TaskOptions

__all__ = ["OutputError"]


@dataclass(frozen=True)
class OutputError(Task):
    """‖network − original‖₂ / ‖original‖₂ of the worst output.

    Args:
        compared: the outputs that are compared.
    """

    compared: tuple[str, ...]

    name = "output-error"
    summary = "relative difference from the original's outputs"
    metric = ErrorMetric.name
    higher_is_better = False
    needs_original = True

    @classmethod
    def of(
        cls,
        network: Network,
        dataset: Dataset,  # noqa: ARG003
        options: TaskOptions = USUAL,
    ) -> OutputError:
        """Return the task of a network, of all outputs or of one."""
        return cls((options.output,) if options.output is not None else tuple(network.outputs))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that are compared."""
        return self.compared

    def make_metric(self) -> ErrorMetric:
        """Return a fresh metric."""
        return ErrorMetric(self.outputs)

    def best_case(self, original: Metric, targets: Targets) -> Metric:  # noqa: ARG002
        """Return that outputs are those of the original."""
        assert isinstance(original, ErrorMetric)
        return original.all_right()


TASKS.add(OutputError.name, entry=OutputError)
