"""How far a network can be pruned: what leaves if every group goes down to its floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..cost.network_cost import Costs, MarginalSavings
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from .floors import Floors
from .limits import Limits
from .quotas import Quotas, asked_steps, partitions, unasked
from .steps import Step, legal_steps, partition_steps

__all__ = ["Reach", "find_reach", "steps_left"]


@dataclass(frozen=True, slots=True)
class Reach:
    """The largest rate. It depends on which channels stay where these cost differently.

    Args:
        sure: reached whatever channels stay.
        most: reached where the cheapest ones stay.
    """

    sure: float
    most: float


def find_reach(
    groups: Groups, costs: Costs, limits: Limits, quotas: Quotas, floors: Floors
) -> Reach:
    """Return the fraction of the cost that leaves if all goes that may go.

    Args:
        groups: the groups; those without partitions keep all their channels.
        costs: costs of the network.
        limits: the legal numbers of channels.
        quotas: partitions that lose a given number, and no more.
        floors: what stays.
    """
    whole = costs.total()
    if not whole:
        return Reach(0.0, 0.0)
    saved = MarginalSavings(groups, costs).saved

    def gone(scores: npt.NDArray[np.float64]) -> float:
        every = [s for own in partition_steps(groups, scores, limits) for s in own]
        steps = [*asked_steps(groups, scores, limits, quotas), *unasked(every, groups, quotas)]
        legal = legal_steps(steps, groups, floors)
        return 1.0 - costs.total(groups.mask(u for step in legal for u in step.units)) / whole

    sure, most = sorted((gone(saved), gone(-saved)))
    return Reach(sure, most)


def steps_left(
    groups: Groups, removed: UnitMask, limits: Limits, quotas: Quotas, floors: Floors
) -> bool:
    """Return whether more channels may leave after a removal (a mask over units).

    Args:
        groups: the groups; those without partitions keep all their channels.
        removed: mask over units.
        limits: the legal numbers of channels.
        quotas: partitions that lose a given number, and no more.
        floors: what stays.
    """
    gone = tuple(Unit(unit) for unit in np.flatnonzero(removed).tolist())
    numbers = [number for number, _ in partitions(groups)]
    steps = [Step(0, 0.0, gone)]
    scores = np.where(removed, -1.0, 0.0)
    for number, own in zip(numbers, partition_steps(groups, scores, limits), strict=True):
        if number not in quotas:
            steps += [step for step in own if not removed[list(step.units)].any()]
    return len(legal_steps(steps, groups, floors)) > 1
