"""Which criterion and which allocation hold, and what they make of a rate together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..allocation import Allocation, Override, Request, find_allocation, uniform
from ..allocation.overrides import Quotas, split
from ..allocation.threshold import ranks
from ..cost.network_cost import Costs
from ..coupling import Groups
from ..criteria import find_criterion
from ..data import Dataset
from ..data.calibration import Calibration
from ..errors import PlanError
from ..ir.network import Network
from ..plan.steps import cut, legal_steps
from ..sensitivity.result import Analysis

__all__ = [
    "AUTOMATIC",
    "RANKING",
    "SURGERY",
    "find_scores",
    "fitting_allocation",
    "fitting_criterion",
    "follow",
]

AUTOMATIC = "auto"
"""What fits the rest: surgery where there is data, else the L1 norm; an allocation likewise."""

SURGERY = "surgery"
"""Structured optimal brain surgery: criterion, allocation and compensation in one."""

RANKING = "global"
"""The allocation that surgery has of its own; other criteria rank their scores."""


def fitting_criterion(name: str, analysis: Analysis | None, data: Dataset | None) -> str:
    """Return the criterion that holds.

    An analysis comes with its own; surgery may take the numbers of channels from its curves.

    Raises:
        PlanError: it is unknown, contradicts the analysis or needs data.
    """
    if analysis is not None and name != SURGERY:
        if name not in (AUTOMATIC, analysis.criterion):
            raise PlanError(
                f"the analysis was made with criterion '{analysis.criterion}'",
                hint="leave the criterion to it, take surgery, or analyse again with another",
            )
        return analysis.criterion
    if name == AUTOMATIC:
        return SURGERY if data is not None else "l1"
    if name == SURGERY:
        if data is None:
            raise PlanError("surgery needs data to calibrate on", hint="give images or an .npz")
    elif find_criterion(name).needs_data and data is None:
        raise PlanError(f"criterion '{name}' needs data", hint="give images or an .npz")
    return name


def fitting_allocation(
    name: str,
    criterion: str,
    analysis: Analysis | None,
    rate: float | None,
    overrides: Mapping[str, Override],
) -> str:
    """Return the allocation that holds.

    Raises:
        PlanError: it is unknown, or does not go with what else was given.
    """
    if name == AUTOMATIC:
        if analysis is not None:
            name = "threshold" if rate is None else "sensitivity"
        elif criterion == SURGERY:
            name = RANKING
        else:
            name = "threshold" if rate is None else "uniform"
    found = find_allocation(name)
    if found.needs_analysis and analysis is None:
        if rate is None:
            raise PlanError(
                "a threshold needs an analysis, or surgery and data to measure the loss on",
                hint="secateur ana makes an analysis",
            )
        raise PlanError(f"allocation '{name}' needs an analysis", hint="secateur ana makes one")
    if found.needs_threshold and rate is not None:
        raise PlanError(
            f"allocation '{name}' takes a threshold, not a rate",
            hint="allocation 'sensitivity' finds the threshold that meets a rate",
        )
    if not found.needs_threshold and rate is None and (criterion, name) != (SURGERY, RANKING):
        raise PlanError(f"allocation '{name}' takes a rate, not a threshold")
    curves = any(override.threshold is not None for override in overrides.values())
    if analysis is not None and not found.needs_analysis and not curves:
        raise PlanError(
            f"allocation '{name}' does not look at an analysis",
            hint="leave the analysis out, or choose sensitivity or greedy",
        )
    return name


def find_scores(
    network: Network,
    groups: Groups,
    criterion: str,
    analysis: Analysis | None,
    data: Dataset | None,
) -> npt.NDArray[np.float64]:
    """Return what orders the channels of each group, by unit; the lowest leave first.

    An analysis keeps the order it was made with. Surgery finds its own once it knows how many
    channels leave; its scores are all alike.
    """
    if analysis is not None:
        return ranks(groups, analysis)
    if criterion == SURGERY:
        return np.zeros(groups.unit_count)
    return find_criterion(criterion).score(network, groups, Calibration(data) if data else None)


def follow(
    allocation: Allocation, request: Request, costs: Costs, rate: float | None, wanted: Quotas
) -> npt.NDArray[np.bool_]:
    """Return what leaves, as a mask over units, when an order is followed.

    Args:
        allocation: what orders the steps.
        request: what it looks at.
        costs: what the rate is a fraction of.
        rate: where to cut; None to follow the order to its end.
        wanted: partitions that lose a certain number; these leave first.

    Raises:
        PlanError: these are more than the rate.
    """
    groups, scores = request.groups, request.scores
    assert scores is not None, "something orders the channels of each group"
    _, rest = split(allocation.order(request), groups, wanted)
    first, _ = split(uniform(groups, scores, request.limits), groups, wanted)
    if rate is not None:
        return cut(rest, groups, costs, rate, first)[0]
    removed = np.zeros(groups.unit_count, dtype=np.bool_)
    steps = legal_steps([*first, *rest], groups)
    removed[[channel for step in steps for channel in step.units]] = True
    return removed
