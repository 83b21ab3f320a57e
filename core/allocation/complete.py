"""Open plans: a plan may give only the number of channels to keep; it becomes a quota."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..coupling import Groups
from ..coupling.indices import Unit, UnitMask
from ..coupling.partitions import Loss
from ..errors import PlanError, located
from ..plan.limits import NO_LIMITS
from ..plan.plan import Plan, PlanGroup, removed_units
from ..plan.quotas import Quotas, quotas_of
from .group_losses import GroupLosses
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


def open_quotas(plan: Plan, groups: Groups) -> Quotas:
    """Return the quotas of all groups for which a plan gives only a number or a rate.

    Raises:
        PlanError: balance rules or fixed channels do not allow the number.
    """
    found: dict[int, Loss] = {}
    for entry in plan.groups:
        if not entry.open:
            continue
        with located(file=plan.file, item=f"group {entry.name!r}"):
            group = groups.by_name(entry.name)
            assert group is not None, "names of groups were checked with the named channels"
            losses = GroupLosses.of(groups, groups.groups.index(group))
            if entry.rate is not None:
                found |= losses.at_rate(entry.rate, entry.name)
            else:
                found |= _evenly(entry, losses)
    return found


def _evenly(entry: PlanGroup, losses: GroupLosses) -> Quotas:
    """Return the quotas that remove the number of an entry, evenly from all partitions.

    Raises:
        PlanError: balance rules or fixed channels do not allow the number.
    """
    groups = losses.groups
    units: list[Unit] = []
    wanted = left = entry.channels - entry.kept
    for step in uniform(groups, np.zeros(groups.unit_count), NO_LIMITS):
        if step.group == losses.index and len(step.units) <= left:
            units += step.units
            left -= len(step.units)
    if not left:
        lost = quotas_of(groups, groups.mask(units))
        return {number: lost[number] for number in losses.partitions}
    exact = losses.at(wanted)
    if exact is None:
        possible = [entry.channels - count for count in losses.around(wanted) if count is not None]
        raise PlanError(
            f"it cannot keep exactly {entry.kept} channels, but {' or '.join(map(str, possible))}",
            hint="some channels stay, and shares lose channels together",
        )
    return exact
