"""Removals one after another, counted from the network that the first one began with."""

from __future__ import annotations

from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..errors import PlanError

__all__ = ["composed"]


def composed(first: UnitMask, groups: Groups, then: UnitMask, later: Groups) -> UnitMask:
    """Return what two removals take from the original in all, a mask over its units [units].

    The values of both networks have the same names, and channels keep their order. So the channels
    of a value in the later network are those of the original that survived.

    Args:
        first: what was removed from the original [units].
        groups: its groups.
        then: what was removed from the network that was left [units of `later`].
        later: the groups of that network.

    Raises:
        PlanError: the later network is not what the first removal left.
    """
    surviving, staying = groups.surviving(first), later.surviving(then)
    removed = first.copy()
    companions = zip(groups.companions, later.companions, strict=False)
    for before, after in ((groups, later), *companions):
        for name, labels in after.values.items():
            if labels.axis is None or name not in before.values:
                continue
            own = before.values[name].vector
            own = own[surviving[own]]
            if len(own) != len(labels.vector):
                raise PlanError(
                    f"'{name}' has {len(labels.vector)} channels, but {len(own)} were left of it",
                    hint="was the plan made for this model?",
                )
            removed[groups.units[own[~staying[labels.vector]]]] = True
    return UnitMask(removed)
