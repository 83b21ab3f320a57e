"""Trials: what a removal costs, measured on samples that it was not adapted to.

The dense network of a removal is adapted without training: the statistics of its batch
normalisations are set anew, or, where it has none, the shifts of its layers, so that every channel
has the mean that it has in the original. Then it is measured beside the original.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..cost.network_cost import Costs
from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..data import Dataset
from ..data.calibration import Calibration
from ..data.held import held
from ..data.hold_out import split
from ..data.part import parted
from ..evaluation.many import ManyMeter
from ..evaluation.task import Task
from ..ir.network import Network
from ..plan.floors import Floors
from ..plan.quotas import Quotas, unasked
from ..plan.state import PruningState
from ..plan.steps import Order, cut
from ..progress import Progress, silent
from ..repair.registry import REPAIRS

__all__ = ["CANDIDATES", "Trial"]

CANDIDATES = 50
"""Candidates where nobody says otherwise. EagleEye's paper takes up to 1,000."""

ADAPTED_BY = ("recalibrate", "bias")
"""The repairs that adapt a network: the first that has something to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What removals are measured with.

    Args:
        network: the network.
        groups: its groups.
        data: samples.
        rate: fraction of the cost to remove.
        costs: what a rate is a fraction of.
        quotas: partitions that lose a given number.
        floors: what every share and every layer keeps.
        task: what is measured, where the user said so; None for how far outputs are from those of
            the original, which needs no labels.
        candidates: how many removals are compared.
        progress: told how many are done.
    """

    network: Network
    groups: Groups
    data: Dataset
    rate: float
    costs: Costs
    quotas: Quotas
    floors: Floors
    task: Task | str | None = None
    candidates: int = CANDIDATES
    progress: Progress = silent

    def cut(self, order: Order, first: Order) -> UnitMask:
        """Return what an order removes at the rate, as a mask over units.

        Args:
            order: steps of all partitions, in their order.
            first: the steps that quotas demand.
        """
        rest = unasked(order, self.groups, self.quotas)
        removed, _ = cut(rest, self.groups, self.costs, self.rate, first, self.floors)
        return removed

    def meter(self) -> tuple[Dataset, ManyMeter]:
        """Return the samples to adapt to, and what measures on the others.

        Raises:
            DataError: the data does not fit the network or the task.
        """
        if self.task is None:
            fitting, measuring = split(Calibration(self.data), self.network)
        else:
            fitting, measuring = parted(self.data, self.network) or (self.data, self.data)
        assert fitting is not None, "there is data"
        assert measuring is not None, "there is data"
        fitting = held(Calibration(fitting), self.network)
        return fitting, ManyMeter(self.network, measuring, self.task)

    def loss(self, removed: UnitMask, fitting: Dataset, meter: ManyMeter) -> float:
        """Return what the network loses by a removal, adapted to some samples.

        Args:
            removed: mask over units.
            fitting: the samples.
            meter: what measures.

        Raises:
            DataError: the data does not fit the network.
        """
        state = PruningState.start(self.network, self.groups, fitting).after(removed)
        dense = state.dense()
        for name in ADAPTED_BY:
            adapted = REPAIRS[name].apply(state, dense, silent)
            if adapted is not dense:
                dense = adapted
                break
        return meter.loss(dense)
