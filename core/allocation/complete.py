"""Open plans: a plan may give only the number of channels to keep; it becomes a quota."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..coupling import Groups
from ..coupling.indices import Unit, UnitMask
from ..errors import PlanError, located
from ..plan.limits import NO_LIMITS
from ..plan.plan import Plan, PlanGroup, removed_units
from ..plan.quotas import nearest, partitions, quotas_of
from .uniform import uniform

__all__ = ["named_units", "open_quotas"]


def named_units(plan: Plan, groups: Groups) -> UnitMask:
    """Return a mask over the units whose positions a plan names.

    Raises:
        PlanError: the plan does not fit the network.
    """
    entries = tuple(
        replace(entry, keep=None, rate=None) if entry.open else entry for entry in plan.groups
    )
    return removed_units(replace(plan, groups=entries), groups)


def open_quotas(plan: Plan, groups: Groups) -> dict[int, int]:
    """Return the quotas of all groups for which a plan gives only a number or a rate.

    Raises:
        PlanError: balance rules or fixed channels do not allow the number.
    """
    found: dict[int, int] = {}
    for entry in plan.groups:
        if not entry.open:
            continue
        with located(file=plan.file, item=f"group {entry.name!r}"):
            counts = quotas_of(groups, _evenly(entry, groups)) if entry.rate is None else {}
            for number, (index, partition) in enumerate(partitions(groups)):
                if groups.groups[index].name != entry.name:
                    continue
                if entry.rate is not None:
                    counts[number] = nearest(entry.rate, min(map(len, partition)))
                found[number] = counts[number]
    return found


def _evenly(entry: PlanGroup, groups: Groups) -> UnitMask:
    """Return a mask over units that removes the number of an entry, evenly from all partitions.

    Raises:
        PlanError: balance rules or fixed channels do not allow the number.
    """
    units: list[Unit] = []
    left = entry.channels - entry.kept
    for step in uniform(groups, np.zeros(groups.unit_count), NO_LIMITS):
        if groups.groups[step.group].name == entry.name and len(step.units) <= left:
            units += step.units
            left -= len(step.units)
    if left:
        raise PlanError(
            f"it cannot keep exactly {entry.kept} channels, but {entry.kept + left}",
            hint="some channels stay, and shares lose equally many",
        )
    return groups.mask(units)
