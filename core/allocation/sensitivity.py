"""Allocation by sensitivity: one threshold of the loss for all groups, chosen to reach the rate.

Units are removed in the order in which a rising threshold allows them. The cut of that order at a
rate (:func:`~..plan.steps.cut`) is a bisection of the threshold, plus single steps that still fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..coupling.groups import Groups
from ..errors import PlanError
from ..plan.limits import USUAL_LIMITS, Limits
from ..plan.steps import SLACK, Order
from .registry import AllocationContext, allocation
from .threshold import step_losses

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis

__all__ = ["check_reach", "sensitivity"]


def sensitivity(groups: Groups, analysis: Analysis, limits: Limits = USUAL_LIMITS) -> Order:
    """Return the steps in the order in which a rising threshold allows them.

    Steps beyond the last measured point of a curve come last, evenly over all groups. If the curves
    end at a threshold, the order ends there.

    Args:
        groups: groups of the analysed network. Groups without a curve keep all their channels.
        analysis: the curves.
        limits: multiples, the floor and the largest fraction.

    Raises:
        PlanError: the analysis is of another network.
    """
    found = step_losses(groups, analysis, limits)
    if analysis.threshold is not None:
        found = [(step, loss) for step, loss in found if loss <= analysis.threshold]
    ordered = sorted(found, key=lambda pair: (pair[1], pair[0].fraction, pair[0].group))
    return [step for step, _ in ordered]


def check_reach(analysis: Analysis, rate: float, achieved: float) -> None:
    """Raise if a rate is not reached because the curves end at a threshold.

    Args:
        analysis: the curves.
        rate: the wanted rate.
        achieved: the rate of the whole order.

    Raises:
        PlanError: the rate is not reached, and the curves end at a threshold.
    """
    if analysis.threshold is not None and achieved < rate - SLACK:
        raise PlanError(
            f"the analysis follows its curves to a loss of {analysis.threshold:g} only, which "
            f"gives a rate of {achieved:.3f}",
            hint="analyse again with a larger --threshold; what was measured is kept",
        )


@allocation(
    "sensitivity",
    summary="one measured loss for all groups that gives the rate (--analysis)",
    source="Li et al., ICLR 2017; Vitis AI, UG1333",
    needs_analysis=True,
)
def _registered(context: AllocationContext) -> Order:
    assert context.analysis is not None, "the registry says that an analysis is needed"
    return sensitivity(context.groups, context.analysis, context.limits)
