"""How much worse a network is than the original it was made from, as one figure."""

from __future__ import annotations

from dataclasses import dataclass

from ..data import Dataset
from ..ir.network import Network
from ..progress import Progress, silent
from .measure import measured
from .task import Task, find_task

__all__ = ["LossMeter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossMeter:
    """Measures networks against an original; made by :meth:`of`.

    Args:
        original: what others are compared with.
        data: what they are measured on.
        task: what is measured.
        original_value: the original's figure; None for distances from it.
    """

    original: Network
    data: Dataset
    task: Task
    original_value: float | None

    @staticmethod
    def of(
        original: Network,
        data: Dataset,
        task: Task | str | None = None,
        *,
        progress: Progress = silent,
    ) -> LossMeter:
        """Return what measures on some data.

        Args:
            original: what others are compared with.
            data: what they are measured on.
            task: as for :func:`~.task.find_task`.
            progress: told how far the measurement of the original is.

        Raises:
            DataError: the data does not fit the network or the task.
        """
        task = find_task(original, data, task)
        value = None
        if not task.needs_original:
            value = float(measured(original, data, task, progress=progress).compute().value)
        return LossMeter(original=original, data=data, task=task, original_value=value)

    @property
    def metric(self) -> str:
        """Name of the figure."""
        return self.task.metric

    def value(self, network: Network, *, progress: Progress = silent) -> float:
        """Return the figure of a network."""
        found = measured(network, self.data, self.task, original=self.original, progress=progress)
        return float(found.compute().value)

    def loss(self, value: float) -> float:
        """Return by how much a figure is worse than the original's; negative for a gain."""
        return self.task.loss(value, self.original_value)
