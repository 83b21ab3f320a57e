"""Global ranking: the scores of all groups in one list, made comparable first.

score' = score / mean score of the group

as Torch-Pruning's normalizer "mean" does for global pruning (Fang et al., DepGraph, CVPR 2023).
docs/allocation.md says what was measured beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..plan.limits import NO_LIMITS, Limits
from ..plan.steps import Order, Step, partition_steps
from .registry import AllocationContext, allocation

__all__ = ["ranking"]


def ranking(groups: Groups, scores: npt.NDArray[np.float64], limits: Limits = NO_LIMITS) -> Order:
    """Return the steps of all groups, the lowest normalised score first.

    The score of a step is the mean over its channels. A step never stands before an earlier one of
    its own partition.

    Args:
        groups: the groups.
        scores: of each unit, not negative.
        limits: multiples and the largest fraction.
    """
    normal = np.zeros(groups.unit_count)
    for group in groups.groups:
        members = [
            group.units[place]
            for partition in group.partitions
            for share in partition
            for place in share
        ]
        mean = float(scores[members].mean()) if members else 0.0
        normal[members] = scores[members] / mean if mean > 0 else 0.0
    found: list[tuple[float, float, int, Step]] = []
    for partition in partition_steps(groups, scores, limits):
        reached = -np.inf
        for step in partition:
            reached = max(reached, float(normal[list(step.units)].mean()))
            found.append((reached, step.fraction, step.group, step))
    return [entry[-1] for entry in sorted(found, key=lambda e: (*e[:3], e[3].units))]


@allocation(
    "global",
    summary="one ranking of all scores over their group's mean; that of obs",
    source="Fang et al., CVPR 2023",
)
def _registered(context: AllocationContext) -> Order:
    return ranking(context.groups, context.scores, context.limits)
