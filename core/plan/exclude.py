"""Excluding layers: their groups keep all channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..coupling.groups import Groups
from ..errors import PlanError, nearest_hint
from ..ir.network import Network

__all__ = ["check_excluded", "closed", "excluded_groups"]


def check_excluded(network: Network, exclude: Sequence[str]) -> None:
    """Raise if an excluded name is no layer of the network.

    Raises:
        PlanError: names it.
    """
    known = {info.name for info in network.layers}
    for name in exclude:
        if name not in known:
            raise PlanError(
                f"cannot exclude '{name}': the network has no such layer",
                hint=nearest_hint(name, known, "`secateur inspect` lists them"),
            )


def closed(network: Network, groups: Groups, exclude: Sequence[str]) -> Groups:
    """Return the groups, without partitions for those of excluded layers: they keep all channels.

    Args:
        network: the network.
        groups: its groups.
        exclude: names of layers.

    Raises:
        PlanError: a name is no layer of the network.
    """
    kept = excluded_groups(network, groups, exclude)
    return replace(
        groups,
        groups=tuple(
            replace(group, partitions=()) if group.name in kept else group
            for group in groups.groups
        ),
    )


def excluded_groups(network: Network, groups: Groups, exclude: Sequence[str]) -> set[str]:
    """Return the names of the groups that keep all channels.

    A layer that makes channels stands for its group. Any other one, a sum or an activation, stands
    for the groups of the channels that pass through it.

    Args:
        network: the network.
        groups: its groups.
        exclude: names of layers.

    Raises:
        PlanError: a name is no layer of the network.
    """
    check_excluded(network, exclude)
    makers = {name: group.name for group in groups.groups for name in group.layers}
    found = {makers[name] for name in exclude if name in makers}
    passing = set(exclude).difference(makers)
    for info in network.layers:
        for top in info.tops if info.name in passing else ():
            labels = groups.values.get(top)
            if labels is not None and labels.axis is not None:
                units = groups.distinct_units(labels.vector)
                found |= {groups.group_of[unit].name for unit in units if unit in groups.group_of}
    return found
