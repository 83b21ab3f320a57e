"""Rate by sensitivity: one threshold for all groups, found by bisection so that the rate is met.

Channels leave in the order in which a rising threshold would take them. Cutting that order at a
rate (:func:`.order.cut`) bisects the threshold, and then takes single steps that still fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..channels.groups import Groups
from ..errors import PlanError
from .limits import NO_LIMITS, Limits
from .order import Order
from .registry import Request, allocation
from .threshold import step_losses

if TYPE_CHECKING:
    from ..analysis.result import Analysis

__all__ = ["sensitivity"]


def sensitivity(groups: Groups, analysis: Analysis, limits: Limits = NO_LIMITS) -> Order:
    """Return the order in which a rising threshold removes channels.

    What lies beyond the last measured point of a curve comes last, all groups evenly.

    Args:
        groups: of the network that was analysed; groups that the analysis lacks keep all.
        analysis: complete curves of it.
        limits: multiples and the largest share.

    Raises:
        PlanError: the analysis is of another network, or its curves are not complete.
    """
    if analysis.threshold is not None:
        raise PlanError(
            f"the analysis follows its curves to a loss of {analysis.threshold:g} only; a rate "
            "needs complete ones",
            hint="analyse again without --threshold",
        )
    found = step_losses(groups, analysis, limits)
    ordered = sorted(found, key=lambda pair: (pair[1], pair[0].share, pair[0].group))
    return [step for step, _ in ordered]


@allocation(
    "sensitivity",
    summary="one measured loss for all groups that gives the rate (--analysis)",
    source="Li et al., ICLR 2017; Vitis AI, UG1333",
    needs_analysis=True,
)
def _registered(request: Request) -> Order:
    assert request.analysis is not None, "the registry says that an analysis is needed"
    return sensitivity(request.groups, request.analysis, request.limits)
