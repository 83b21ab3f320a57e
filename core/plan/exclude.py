"""Excluding layers: their groups keep all channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..coupling.groups import Groups
from ..errors import PlanError, nearest_hint
from ..ir.network import Network

__all__ = ["check_excluded", "closed"]


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
    check_excluded(network, exclude)
    kept = set(exclude)
    return replace(
        groups,
        groups=tuple(
            replace(group, partitions=()) if kept.intersection(group.layers) else group
            for group in groups.groups
        ),
    )
