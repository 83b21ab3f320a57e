"""Plans that people edited: where one says only how many channels stay, these are counted here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..coupling import Groups
from ..errors import PlanError, located
from ..plan.plan import Plan, PlanGroup, removed_units
from . import uniform
from .overrides import nearest, partitions, quotas_of

__all__ = ["chosen", "open_quotas"]


def chosen(plan: Plan, groups: Groups) -> npt.NDArray[np.bool_]:
    """Return the mask over units of what a plan removes by position.

    Raises:
        PlanError: the plan does not fit the network.
    """
    closed = tuple(
        replace(entry, keep=None, rate=None) if entry.open else entry for entry in plan.groups
    )
    return removed_units(replace(plan, groups=closed), groups)


def open_quotas(plan: Plan, groups: Groups) -> dict[int, int]:
    """Return how many channels leave the partitions of the groups where that is all a plan says.

    Raises:
        PlanError: that many cannot leave.
    """
    found: dict[int, int] = {}
    for entry in plan.groups:
        if not entry.open:
            continue
        with located(file=plan.file, item=f"group {entry.name!r}"):
            taken = quotas_of(groups, _taken(entry, groups)) if entry.rate is None else {}
            for number, (index, partition) in enumerate(partitions(groups)):
                if groups.groups[index].name != entry.name:
                    continue
                if entry.rate is not None:
                    taken[number] = nearest(entry.rate, min(map(len, partition)))
                found[number] = taken[number]
    return found


def _taken(entry: PlanGroup, groups: Groups) -> npt.NDArray[np.bool_]:
    """Return as many units of a group as are to leave, all partitions evenly."""
    removed = np.zeros(groups.unit_count, dtype=np.bool_)
    left = entry.channels - entry.kept
    for step in uniform(groups, np.zeros(groups.unit_count)):
        if groups.groups[step.group].name == entry.name and len(step.units) <= left:
            removed[list(step.units)] = True
            left -= len(step.units)
    if left:
        raise PlanError(
            f"it cannot keep exactly {entry.kept} channels, but {entry.kept + left}",
            hint="some channels stay, and shares lose equally many",
        )
    return removed
