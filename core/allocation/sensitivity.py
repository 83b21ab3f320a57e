"""Rate by sensitivity: one threshold for all groups, found by bisection so that the rate is met.

Channels leave in the order in which a rising threshold would take them. Cutting that order at a
rate (:func:`.order.cut`) bisects the threshold, and then takes single steps that still fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..coupling.groups import Groups
from ..errors import PlanError
from ..plan.limits import NO_LIMITS, Limits
from ..plan.steps import SLACK, Order
from .registry import AllocationContext, allocation
from .threshold import step_losses

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis

__all__ = ["check_reach", "sensitivity"]


def sensitivity(groups: Groups, analysis: Analysis, limits: Limits = NO_LIMITS) -> Order:
    """Return the order in which a rising threshold removes channels.

    What lies beyond the last measured point of a curve comes last, all groups evenly. Where curves
    were followed to a threshold only, the order ends there; up to that place it is the same.

    Args:
        groups: of the network that was analysed; groups that the analysis lacks keep all.
        analysis: curves of it.
        limits: multiples and the largest fraction.

    Raises:
        PlanError: the analysis is of another network.
    """
    found = step_losses(groups, analysis, limits)
    if analysis.threshold is not None:
        found = [(step, loss) for step, loss in found if loss <= analysis.threshold]
    ordered = sorted(found, key=lambda pair: (pair[1], pair[0].fraction, pair[0].group))
    return [step for step, _ in ordered]


def check_reach(analysis: Analysis, rate: float, achieved: float) -> None:
    """Raise where a rate lies beyond what the curves were followed to.

    Args:
        analysis: the curves.
        rate: what was asked for.
        achieved: what the order gave.

    Raises:
        PlanError: the rate is missed, and curves end before they were complete.
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
