"""What groups lose together, where a threshold limits each alone: predicted before, measured after.

The prediction is the sum of the curves: losses of small removals in different places add up, as the
first terms of the loss's expansion do. Large ones often cost more than the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..cost.budgets import LATENCY
from ..coupling import Groups, find_groups
from ..data import Dataset
from ..evaluation.loss import LossMeter
from ..evaluation.task import TASKS
from ..ir.network import Network
from ..progress import Progress, silent
from .choose import followed
from .demand import Demand
from .options import PruneOptions

__all__ = ["Together", "losses_together"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """What groups lose together.

    Args:
        predicted: the sum of what they lose alone, in the unit of the metric.
        each: what each may lose.
        groups: how many lose channels.
        metric: name of the metric.
    """

    predicted: float
    each: float
    groups: int
    metric: str

    @property
    def text(self) -> str:
        """The prediction in words."""
        return (
            f"the losses of {self.groups} groups add up to {self._said(self.predicted)} of "
            f"{self.metric} (predicted from their curves; each alone may lose "
            f"{self._said(self.each)})"
        )

    def measured(
        self,
        original: Network,
        pruned: Network,
        data: Dataset,
        progress: Progress = silent,
    ) -> tuple[float, str]:
        """Return what the groups really lose together, and that in words, with advice.

        Args:
            original: the network before pruning.
            pruned: the pruned network.
            data: samples, with the labels that the metric needs.
            progress: told how far the measurement is.

        Raises:
            DataError: the data does not fit the metric.
        """
        task = next(name for name, task in TASKS.items() if task.metric == self.metric)
        meter = LossMeter.of(original, data, task, progress=progress)
        lost = meter.loss(meter.value(pruned, progress=progress))
        text = (
            f"together, {self.groups} groups lose {self._said(lost)} of {self.metric} on "
            f"{data.name} ({self._said(self.predicted)} predicted)"
        )
        if lost > self.each:
            text += (
                f", more than the {self._said(self.each)} that each alone may lose: give a smaller "
                "--threshold, limit the total (--max-drop), or leave --analysis out, so that the "
                "threshold is that of the whole network"
            )
        return lost, text

    def _said(self, loss: float) -> str:
        task = next((task for task in TASKS.values() if task.metric == self.metric), None)
        if task is None or task.points == 1.0:
            return f"{loss:.3g}"
        return f"{task.points * loss:.2f} points"


def losses_together(
    network: Network,
    options: PruneOptions,
    *,
    data: Dataset | None = None,
    groups: Groups | None = None,
) -> Together | None:
    """Return what a threshold for each group alone comes to for all together; nothing is pruned.

    Args:
        network: the network.
        options: how it is to be pruned.
        data: for criteria that need some.
        groups: groups of the network where they are known.

    Returns:
        None where no threshold of single groups is asked for, or a single group loses channels; or
        where times of layers would have to be measured for it.

    Raises:
        PlanError: options do not fit the network or each other.
    """
    analysis, each = options.analysis, options.threshold
    timed = options.budget == LATENCY and options.latencies is None
    if analysis is None or each is None or timed:
        return None
    groups = groups or find_groups(network)
    demand = Demand.of(network, groups, options, data=data)
    removed, _ = followed(demand, demand.context(data))
    losses = []
    for group in groups.groups:
        gone = int(sum(removed[unit] for unit in group.units))
        curve = analysis.by_name(group.name)
        if gone and curve is not None:
            losses.append(curve.loss_at(gone))
    if len(losses) < 2:
        return None
    return Together(predicted=sum(losses), each=each, groups=len(losses), metric=analysis.metric)
