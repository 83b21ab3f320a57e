"""A plan from weights alone: the channels of a sparse network that nothing makes any more."""

from __future__ import annotations

import numpy as np

from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..errors import PlanError
from ..ir.network import Network
from .plan import Plan, make_plan, removed_units

__all__ = ["plan_of_zeros"]


def plan_of_zeros(network: Network, groups: Groups) -> Plan:
    """Return the plan that takes out the channels whose weights are all zero.

    Args:
        network: a sparse network.
        groups: its groups.

    Raises:
        PlanError: no channel is zero, a group has no others, or their numbers break a balance rule.
    """
    removed = _zero_units(network, groups)
    if not removed.any():
        raise PlanError(
            f"no channel of '{network.name}' is zero",
            hint="give the weights of a sparse model, or the plan.yaml that it was pruned by",
        )
    for group in groups.groups:
        if group.prunable and all(removed[list(group.units)]):
            raise PlanError(f"all channels of group '{group.name}' are zero")
    plan = make_plan(groups, removed, {"model": network.name, "criterion": "zeros"})
    removed_units(plan, groups)  # says where numbers break a balance rule
    return plan


def _zero_units(network: Network, groups: Groups) -> UnitMask:
    """Return a mask over the units that can leave and whose weights are all zero."""
    made, alive = groups.mask(()), groups.mask(())
    for use in groups.uses:
        if use.role != "weight":
            continue
        weight, labels = network.array(use.parameter), use.labels[0]
        sizes = (1,) * (weight.ndim - labels.ndim) + labels.shape
        alike = tuple(axis for axis, size in enumerate(sizes) if size == 1)
        living = (weight != 0).any(axis=alike, keepdims=True)
        units = np.broadcast_to(groups.units[labels], living.shape)
        made[units.ravel()] = True
        alive[units[living]] = True
    removed = groups.mask(())
    for group in groups.groups:
        units_there = group.removable()
        removed[units_there] = (made & ~alive)[units_there]
    return removed
