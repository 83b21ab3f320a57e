"""Numbers of channels that an analysis of the original gives, for a network that is left of it."""

from __future__ import annotations

from collections.abc import Mapping

from ..allocation.group_losses import GroupLosses
from ..coupling.groups import Groups
from ..data import Dataset
from ..ir.network import Network
from ..plan.plan import Plan, PlanGroup
from .choose import followed
from .demand import Demand
from .options import PruneOptions

__all__ = ["channels_left", "counted_plan"]


def channels_left(
    network: Network, groups: Groups, options: PruneOptions, data: Dataset | None = None
) -> dict[str, int]:
    """Return group → channels that stay, by the curves of an analysis; no channel is chosen.

    Args:
        network: the original.
        groups: its groups.
        options: a rate of the original, with the analysis.
        data: for criteria that need some.

    Raises:
        PlanError: options do not fit the network, or the rate is out of reach.
    """
    demand = Demand.of(network, groups, options, data=data)
    demand.check()
    removed, _ = followed(demand, demand.context(data))
    return {
        group.name: int(sum(not removed[unit] for unit in group.units)) for group in groups.groups
    }


def counted_plan(groups: Groups, left: Mapping[str, int]) -> Plan:
    """Return a plan for a smaller network that leaves open which channels are removed.

    Args:
        groups: of the smaller network.
        left: group → channels that stay. A group that cannot keep exactly so many keeps the nearest
            larger number that it can.
    """
    entries = []
    for index, group in enumerate(groups.groups):
        if not group.prunable or group.name not in left:
            continue
        count = len(group.units)
        lost = GroupLosses.of(groups, index).around(max(0, count - left[group.name]))[0]
        entries.append(
            PlanGroup(
                name=group.name, layers=group.layers, channels=count,
                keep=count - lost if lost else None,
            )
        )  # fmt: skip
    return Plan(groups=tuple(entries))
