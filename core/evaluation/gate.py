"""The gate: nothing goes on when a network loses more than the user allows."""

from __future__ import annotations

from dataclasses import dataclass

from ..data.arrays import AnyData, as_dataset
from ..errors import DataError, VerificationError
from ..ir.network import Network
from ..progress import Progress, silent
from .fitted import fit_data
from .loss import LossMeter
from .task import Task

__all__ = ["Gate", "check_drop"]


ROUNDING = 1e-9
"""What rounding may add to a loss that is exactly the limit: 98 − 95 % are 3.0000000000000027."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """How much a network may lose.

    Args:
        drop: points of the metric (:attr:`~.task.Task.points`), for labelled data; None for any.
        divergence: distance of the outputs from the original's, for data without labels; None for
            any.
    """

    drop: float | None = None
    divergence: float | None = None

    def check(self, task: Task | None) -> None:
        """Raise where the gate does not fit what is measured.

        Args:
            task: what is measured; None where there is no data.

        Raises:
            DataError: a drop needs labels, and a divergence is not measured where there are some.
        """
        if self.drop is not None and (task is None or task.needs_original):
            raise _unlabelled()
        if self.divergence is not None and task is not None and not task.needs_original:
            raise DataError(
                "divergence is for data without labels", hint="limit the drop (--max-drop)"
            )

    def passes(self, loss: float) -> bool:
        """Whether a loss is allowed."""
        limit = self.drop if self.drop is not None else self.divergence
        return limit is None or loss <= limit + ROUNDING


def check_drop(
    original: Network,
    compressed: Network,
    data: AnyData | None,
    points: float,
    *,
    task: Task | str | None = None,
    progress: Progress = silent,
) -> float:
    """Return how many points of the metric are lost (negative for a gain).

    The metric is what the labels call for: top-1 accuracy, mean average precision, ….

    Args:
        original: the network before pruning.
        compressed: the pruned network.
        data: labelled samples.
        points: how many points may be lost: hundredths of accuracy and the like.
        task: another task than that of the labels, as for :func:`~.task.find_task`.
        progress: told how far the measurement is.

    Raises:
        DataError: there is no labelled data.
        VerificationError: more is lost.
    """
    data = as_dataset(data, original)
    if data is None:
        raise _unlabelled()
    gate, task = Gate(drop=points), fit_data(original, data, task, asked=True).task
    gate.check(task)
    meter = LossMeter.of(original, data, task, progress=progress)
    lost = task.points * meter.loss(meter.value(compressed, progress=progress))
    if not gate.passes(lost):
        raise VerificationError(
            f"{meter.metric} drops by {lost:.2f} points, allowed are {points:g}: nothing written",
            hint="lower the rate, or allow more",
        )
    return lost


def _unlabelled() -> DataError:
    return DataError(
        "a limit on the accuracy drop needs labelled data",
        hint="give labels (docs/data.md), or limit the divergence of rounds (--max-divergence)",
    )
