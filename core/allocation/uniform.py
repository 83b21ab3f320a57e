"""Uniform allocation: every group loses the same fraction of its channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..plan.limits import USUAL_LIMITS, Limits
from ..plan.steps import Order, partition_steps
from .registry import AllocationContext, allocation

__all__ = ["uniform"]


def uniform(
    groups: Groups, scores: npt.NDArray[np.float64], limits: Limits = USUAL_LIMITS
) -> Order:
    """Return the steps evenly over all groups, the lowest scores of each group first."""
    steps = [step for partition in partition_steps(groups, scores, limits) for step in partition]
    return sorted(steps, key=lambda step: (step.fraction, step.group, step.units))


@allocation(
    "uniform", summary="the same share of every group's channels", source="Li et al., ICLR 2017"
)
def _registered(context: AllocationContext) -> Order:
    return uniform(context.groups, context.scores, context.limits)
