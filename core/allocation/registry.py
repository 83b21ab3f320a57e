"""The registry of allocations, and the context of an allocation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..errors import PlanError
from ..ir.network import Network
from ..own import guarded, named, summary_of
from ..plan.limits import Limits
from ..plan.steps import Order, Step, partition_steps
from ..registry import Registry

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis
    from .trial import Trial

__all__ = ["ALLOCATIONS", "Allocation", "AllocationContext", "allocation", "named_allocation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AllocationContext:
    """The context of an allocation.

    Args:
        groups: the groups; those without partitions keep all their channels.
        limits: multiples, the floor and the largest fraction.
        savings: cost that the removal of each unit alone saves [units].
        scores: score of each unit [units]; the lowest are removed first.
        analysis: measured loss curves; None if the user gave none.
        threshold: loss that each group alone may cost; None for a rate.
        network: the network; None where nothing but its groups is known.
        trial: what removals are measured with; None where there is no data.
        normalize: how scores of different groups are made comparable, a key of
            :data:`~.normalize.SCALES`.
    """

    groups: Groups
    limits: Limits = field(default_factory=Limits)
    savings: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    analysis: Analysis | None = None
    threshold: float | None = None
    network: Network | None = None
    trial: Trial | None = None
    normalize: str = "mean"

    def partition_steps(self) -> list[list[Step]]:
        """Return the steps that limits allow, a list for each partition, lowest scores first."""
        return list(partition_steps(self.groups, self.scores, self.limits))

    def steps(self) -> list[Step]:
        """Return all steps that limits allow, group by group, lowest scores first.

        An allocation puts them into an order: those that come first leave first.
        """
        return [step for path in self.partition_steps() for step in path]


MakeOrder = Callable[[AllocationContext], Order]


@dataclass(frozen=True, slots=True)
class Allocation:
    """A named way to decide how many channels each group loses.

    Args:
        name: name for users.
        summary: one line for `--allocation help`.
        source: its paper or code.
        order: returns the order in which units are removed. A rate cuts the order; with a
            threshold, all steps are removed.
        needs_analysis: whether it reads loss curves.
        needs_threshold: whether it takes a threshold instead of a rate.
        needs_data: whether it measures removals on data.
        spreads: whether it makes many passes, which several threads or machines share.
    """

    name: str
    summary: str
    source: str
    order: MakeOrder
    needs_analysis: bool = False
    needs_threshold: bool = False
    needs_data: bool = False
    spreads: bool = False


ALLOCATIONS: Registry[Allocation] = Registry(
    "allocation", package=__name__.rpartition(".")[0], group="secateur.allocations"
)
"""Every allocation by its name."""


def named_allocation(given: str | MakeOrder | Allocation) -> str:
    """Return the name of an allocation: a function becomes one.

    Args:
        given: a name, or a function from an :class:`AllocationContext` to steps in their order.

    Raises:
        PlanError: it is none of them, or has the name of another allocation.
    """
    return named(ALLOCATIONS, given, _own)


def _own(name: str, function: MakeOrder) -> Allocation:
    def order(context: AllocationContext) -> Order:
        with guarded("allocation", name):
            found = list(function(context))
        if not all(isinstance(step, Step) for step in found):
            raise PlanError(
                f"the allocation '{name}' must give steps in an order",
                hint="return sorted(context.steps(), key=…)",
            )
        return found

    return Allocation(name, summary_of(function), "given as a function", order)


def allocation(
    name: str,
    *,
    summary: str,
    source: str,
    needs_analysis: bool = False,
    needs_threshold: bool = False,
    needs_data: bool = False,
    spreads: bool = False,
) -> Callable[[MakeOrder], MakeOrder]:
    """Register a function that orders steps; see :class:`Allocation` for the arguments."""

    def register(function: MakeOrder) -> MakeOrder:
        entry = Allocation(
            name, summary, source, function, needs_analysis, needs_threshold, needs_data, spreads
        )
        ALLOCATIONS.add(name, entry=entry)
        return function

    return register
