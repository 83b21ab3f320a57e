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
    fitting, meter = trial.meter()
    best: tuple[float, Order] | None = None
    measured: dict[bytes, float] = {}
    numbers = tracked(range(trial.candidates), "candidates", trial.candidates, trial.progress)
    for number in numbers:
        speeds = random.uniform(SLOWEST, 1.0, len(context.groups.groups))
        order = by_speed(steps, np.ones_like(speeds) if number == 0 else speeds)
        removed = trial.cut(order, first)
        key = removed.tobytes()
        if key not in measured:
            measured[key] = trial.loss(removed, fitting, meter)
        if best is None or measured[key] < best[0]:
            chosen = [step for step in order if removed[list(step.units)].all()]
            left = [step for step in order if not removed[list(step.units)].all()]
            best = measured[key], [*chosen, *left]
    assert best is not None, "there is at least one candidate"
    return best[1]


def by_speed(steps: Sequence[Step], speeds: npt.NDArray[np.float64]) -> list[Step]:
    """Return steps in the order in which groups lose channels at their speeds.

    Args:
        steps: the steps of all partitions.
        speeds: of each group, over 0.
    """
    return sorted(
        steps, key=lambda step: (step.fraction / speeds[step.group], step.group, step.units)
    )
