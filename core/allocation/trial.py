"""Trials: what a removal costs, measured on samples that it was not adapted to.

The dense network of a removal is adapted without training: the statistics of its batch
normalisations are set anew, or, where it has none, the shifts of its layers, so that every channel
has the mean that it has in the original. Then it is measured beside the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..cost.network_cost import Costs
from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..data import Dataset
from ..data.base import first_batch
from ..data.calibration import Calibration
from ..data.held import held
from ..data.hold_out import split
from ..data.part import parted
from ..engine.spread import shared_out, spread
from ..evaluation.many import ManyMeter
from ..evaluation.task import Task
from ..ir.footprint import peak_bytes, stored_bytes
from ..ir.network import Network
from ..plan.floors import Floors
from ..plan.quotas import Quotas, unasked
from ..plan.state import PruningState
from ..plan.steps import Order, cut
from ..progress import Progress, silent
from ..repair.activation_cache import ACTIVATION_BYTES
from ..repair.registry import REPAIRS

__all__ = ["CANDIDATES", "Trial", "TrialBench"]

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
        jobs: as for :func:`~..engine.spread.spread`.
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
    jobs: int | None = None

    def cut(self, order: Order, first: Order) -> UnitMask:
        """Return what an order removes at the rate, as a mask over units.

        Args:
            order: steps of all partitions, in their order.
            first: the steps that quotas demand.
        """
        rest = unasked(order, self.groups, self.quotas)
        removed, _ = cut(rest, self.groups, self.costs, self.rate, first, self.floors)
        return removed

    def losses(self, removals: Sequence[UnitMask]) -> Iterator[float]:
        """Yield what the network loses by each removal, adapted and measured.

        Args:
            removals: masks over units.

        Raises:
            DataError: the data does not fit the network or the task.
        """
        bench = self.bench()
        at_once, threads = shared_out(self.jobs, len(removals), bench.bytes_each)
        calls = [(bench, removed) for removed in removals]
        return spread(TrialBench.loss, calls, jobs=at_once, threads=threads)

    def bench(self) -> TrialBench:
        """Return what adapts to some samples, and measures on the others.

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
        first_batch(fitting)  # what is held is read before several threads ask for it
        meter = ManyMeter(self.network, measuring, self.task)
        return TrialBench(network=self.network, groups=self.groups, fitting=fitting, meter=meter)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialBench:
    """What all removals have in common; it can be sent to other processes.

    Args:
        network: the network.
        groups: its groups.
        fitting: the samples that networks are adapted to.
        meter: measures them.
    """

    network: Network
    groups: Groups
    fitting: Dataset
    meter: ManyMeter

    def loss(self, removed: UnitMask) -> float:
        """Return what the network loses by a removal, adapted to some samples.

        Args:
            removed: mask over units.

        Raises:
            DataError: the data does not fit the network.
        """
        state = PruningState.start(self.network, self.groups, self.fitting).after(removed)
        dense = state.dense()
        for name in ADAPTED_BY:
            adapted = REPAIRS[name].apply(state, dense, silent)
            if adapted is not dense:
                dense = adapted
                break
        return self.meter.loss(dense)

    @property
    def bytes_each(self) -> float:
        """Bytes that one removal takes, about: its weights, and activations of both networks."""
        activations = 2 * peak_bytes(self.network) * self.fitting.samples
        return 2 * stored_bytes(self.network) + min(activations, ACTIVATION_BYTES)

    def __sizeof__(self) -> int:
        # Dask sends large arguments to each worker once, and looks at this.
        return 1024 + stored_bytes(self.network)
