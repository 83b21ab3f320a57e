"""Random allocations, adapted and measured: Li, Wu, Su, Wang, Pang, EagleEye: Fast Sub-net
Evaluation for Efficient Neural Network Pruning, ECCV 2020 (arXiv 2007.02491).

Each candidate gives every group a speed, uniform from :data:`SLOWEST` to 1. Groups lose channels
in proportion to their speeds until the rate is met, those of the lowest scores first. The dense
network gets batch normalisations (or shifts) that fit its own activations, and is measured on
samples that these were not fitted to (:mod:`.trial`). The best candidate is taken. The first one
has equal speeds, so the choice is never worse there than `uniform`.

In the paper ratios are drawn from 0 to 0.7, and thrown away until one meets the budget. Speeds that
follow the rate need no draws in vain. Vitis AI calls the whole one-step pruning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.indices import UnitMask
from ..plan.quotas import asked_steps
from ..plan.steps import Order, Step
from ..progress import tracked
from .registry import AllocationContext, allocation

__all__ = ["SLOWEST", "by_speed"]

SLOWEST = 0.05
"""The lowest speed of a group, beside 1 for the highest."""

SEED = 0


@allocation(
    "one-step",
    summary="the best of random allocations, measured after batch norms are set anew (--data)",
    source="EagleEye, Li et al., ECCV 2020",
    needs_data=True,
    spreads=True,
)
def one_step(context: AllocationContext) -> Order:
    """Return the steps of the best candidate first, then all others.

    Raises:
        DataError: the data does not fit the network.
    """
    trial = context.trial
    assert trial is not None, "the registry says that data is needed"
    steps = context.steps()
    first = asked_steps(context.groups, context.scores, context.limits, trial.quotas)
    random = np.random.default_rng(SEED)
    count = len(context.groups.groups)
    drawn = [random.uniform(SLOWEST, 1.0, count) for _ in range(trial.candidates)]
    candidates: dict[bytes, tuple[npt.NDArray[np.float64], UnitMask]] = {}
    for speeds in (np.ones(count), *drawn[1:]):
        removed = trial.cut(by_speed(steps, speeds), first)
        candidates.setdefault(removed.tobytes(), (speeds, removed))
    found = trial.losses([removed for _, removed in candidates.values()])
    losses = tracked(found, "candidates", len(candidates), trial.progress)
    (speeds, removed), _ = min(
        zip(candidates.values(), losses, strict=True), key=lambda pair: pair[1]
    )
    order = by_speed(steps, speeds)
    return sorted(order, key=lambda step: not removed[list(step.units)].all())


def by_speed(steps: Sequence[Step], speeds: npt.NDArray[np.float64]) -> list[Step]:
    """Return steps in the order in which groups lose channels at their speeds.

    Args:
        steps: the steps of all partitions.
        speeds: of each group, over 0.
    """
    return sorted(
        steps, key=lambda step: (step.fraction / speeds[step.group], step.group, step.units)
    )
