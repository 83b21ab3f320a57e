"""Greedy by measured curves: the least loss per operation saved is removed first, over all groups.

The curve of a group is its measured loss over the cost saved. The sum of the groups' losses is the
estimate for the network. Then the best choice for every budget takes the segments of the curves'
lower convex hulls by rising slope (Shoham and Gersho, Efficient Bit Allocation for an Arbitrary Set
of Quantizers, 1988, for the allocation of bits). A segment between two points of the hull is taken
step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt

from ..errors import PlanError
from ..plan.steps import Order, Step
from .registry import AllocationContext, allocation
from .threshold import step_losses

__all__ = ["greedy", "hull_slopes"]


@allocation(
    "greedy",
    summary="least measured loss per operation saved (--analysis)",
    source="Shoham and Gersho, 1988",
    needs_analysis=True,
)
def greedy(context: AllocationContext) -> Order:
    """Return the steps by the slope of their group's hull: the loss per cost saved.

    Steps beyond the last measured point of a curve come last, evenly over all groups. The saving of
    a step is that with all other channels kept.

    Raises:
        PlanError: the analysis is of another network, or its curves are not complete.
    """
    analysis = context.analysis
    assert analysis is not None, "the registry says that an analysis is needed"
    if analysis.threshold is not None:
        raise PlanError(
            f"the analysis follows its curves to a loss of {analysis.threshold:g} only; a rate "
            "needs complete ones",
            hint="analyse again without --threshold",
        )
    ranked: list[tuple[float, float, int, Step]] = []
    losses = step_losses(context.groups, analysis, context.limits)
    for group, pairs in groupby(losses, key=lambda pair: pair[0].group):
        own = list(pairs)
        saved = np.array([context.savings[list(step.units)].sum() for step, _ in own])
        slopes = hull_slopes(saved, [loss for _, loss in own])
        ranked += [
            (slope, step.fraction, group, step)
            for (step, _), slope in zip(own, slopes, strict=True)
        ]
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:3])]


def hull_slopes(saved: npt.NDArray[np.float64], losses: Sequence[float]) -> list[float]:
    """Return for each step the slope of the lower convex hull of the curve.

    Args:
        saved: cost that each step saves, not negative.
        losses: loss after each step. The loss before the first step is 0. Points with an infinite
            loss are not on the hull.

    Returns:
        the slopes, which do not fall; infinite for steps with an infinite loss.
    """
    x = np.concatenate([[0.0], np.cumsum(saved)])
    y = np.concatenate([[0.0], losses])
    known = np.flatnonzero(np.isfinite(y))
    hull: list[int] = []
    for point in known.tolist():
        while len(hull) > 1 and _slope(x, y, hull[-2], hull[-1]) >= _slope(x, y, hull[-1], point):
            hull.pop()
        hull.append(point)
    slopes = [float("inf")] * len(saved)
    for before, after in pairwise(hull):
        slopes[before:after] = [_slope(x, y, before, after)] * (after - before)
    return slopes


def _slope(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], before: int, after: int
) -> float:
    run, rise = float(x[after] - x[before]), float(y[after] - y[before])
    if run > 0:
        return rise / run
    return float("inf") if rise > 0 else 0.0
