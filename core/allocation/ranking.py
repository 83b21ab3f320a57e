"""Global ranking: the normalised scores of all groups in one order.

score' = score / mean |score| of the group

Source: the normalizer "mean" of Torch-Pruning for global pruning (Fang et al., DepGraph, CVPR
2023). docs/allocation.md has measurements of other normalisations. Scores that are losses already
(:attr:`~..criteria.registry.Criterion.comparable`) are ranked as they are, unless the user wishes
otherwise (:mod:`.normalize`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..plan.limits import USUAL_LIMITS, Limits
from ..plan.steps import Order, Step, partition_steps
from .normalize import MEAN, normalized
from .registry import AllocationContext, allocation

__all__ = ["ranked", "ranking"]


def ranking(
    groups: Groups,
    scores: npt.NDArray[np.float64],
    limits: Limits = USUAL_LIMITS,
    how: str = MEAN,
) -> Order:
    """Return the steps of all groups, the lowest normalised score first.

    Args:
        groups: the groups.
        scores: score of each unit [units].
        limits: multiples, the floor and the largest fraction.
        how: how scores are normalised, a key of :data:`~.normalize.SCALES`.
    """
    return ranked(partition_steps(groups, scores, limits), normalized(groups, scores, how))


def ranked(partitions: Iterable[Sequence[Step]], scores: npt.NDArray[np.float64]) -> list[Step]:
    """Return the steps of some partitions in one order, the lowest score first.

    The score of a step is the mean over its units. The steps of a partition stay in their order.

    Args:
        partitions: the steps of each.
        scores: of each unit, on one scale [units].
    """
    found: list[tuple[float, float, int, Step]] = []
    for partition in partitions:
        reached = -np.inf
        for step in partition:
            reached = max(reached, float(scores[list(step.units)].mean()))
            found.append((reached, step.fraction, step.group, step))
    return [entry[-1] for entry in sorted(found, key=lambda entry: (*entry[:3], entry[3].units))]


@allocation(
    "global",
    summary="one ranking of all scores, made comparable by --normalize; obs's own",
    source="Fang et al., CVPR 2023",
)
def _registered(context: AllocationContext) -> Order:
    return ranking(context.groups, context.scores, context.limits, context.normalize)
