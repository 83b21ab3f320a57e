"""Threshold: each group loses as many channels as its own measured curve allows.

The curve of a group is the loss over the fraction of its channels that is removed. It begins at 0
and is straight between the measured points. A step is allowed if the curve up to it never exceeds
the threshold. So a negative loss is allowed, and steps behind the first point above the threshold
are not allowed, even if the curve falls again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..errors import PlanError, nearest_hint
from ..plan.limits import NO_LIMITS, USUAL_LIMITS, Limits
from ..plan.steps import Order, Step, legal_steps, partition_steps
from .registry import AllocationContext, allocation

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis, GroupAnalysis

__all__ = ["ranks", "step_losses", "threshold"]


def threshold(
    groups: Groups,
    analysis: Analysis,
    loss: float,
    *,
    overrides: Mapping[str, float] | None = None,
    limits: Limits = USUAL_LIMITS,
) -> UnitMask:
    """Return the units that are removed if every group alone may cost a given loss.

    Units beyond the last measured point are not removed.

    Args:
        groups: groups of the analysed network. Groups without a curve keep all their channels.
        analysis: the curves.
        loss: largest loss of each group, in the unit of the analysis.
        overrides: name of a group or of one of its layers → largest loss of that group.
        limits: multiples, the floor and the largest fraction.

    Returns:
        a mask over units.

    Raises:
        PlanError: the analysis is of another network or was made for a smaller threshold, or a
            name is unknown.
    """
    steps = legal_steps(_allowed(groups, analysis, loss, overrides or {}, limits), groups)
    return groups.mask(unit for step in steps for unit in step.units)


@allocation(
    "threshold",
    summary="as much of each group as its measured loss allows (--threshold)",
    source="Vitis AI, UG1333",
    needs_analysis=True,
    needs_threshold=True,
)
def _registered(context: AllocationContext) -> Order:
    assert context.analysis is not None, "the registry says that an analysis is needed"
    assert context.threshold is not None, "the registry says that a threshold is needed"
    return _allowed(context.groups, context.analysis, context.threshold, {}, context.limits)


def _allowed(
    groups: Groups,
    analysis: Analysis,
    loss: float,
    overrides: Mapping[str, float],
    limits: Limits,
) -> list[Step]:
    """Return the allowed steps, evenly over all groups.

    Raises:
        PlanError: as in :func:`threshold`.
    """
    losses = _losses_by_group(groups, overrides)
    for value in (loss, *losses.values()):
        if analysis.threshold is not None and value > analysis.threshold:
            raise PlanError(
                f"the analysis follows its curves to a loss of {analysis.threshold:g} only, not "
                f"{value:g}",
                hint="analyse again with a larger --threshold; what was measured is kept",
            )
    chosen = [
        step
        for step, cost in step_losses(groups, analysis, limits)
        if cost <= losses.get(groups.groups[step.group].name, loss)
    ]
    return sorted(chosen, key=lambda step: (step.fraction, step.group))


def step_losses(
    groups: Groups, analysis: Analysis, limits: Limits = NO_LIMITS
) -> list[tuple[Step, float]]:
    """Return the steps of all groups, each with the largest loss of the curve up to it.

    Steps beyond the last measured point have an infinite loss. The steps of a group are in the
    order of their removal.

    Args:
        groups: groups of the analysed network.
        analysis: the curves.
        limits: the legal numbers of channels, which determine the size of steps.

    Raises:
        PlanError: the analysis is of another network.
    """
    own: dict[int, list[Step]] = {}
    for partition in partition_steps(groups, ranks(groups, analysis), limits):
        for step in partition:
            own.setdefault(step.group, []).append(step)
    found: list[tuple[Step, float]] = []
    for index, steps in sorted(own.items()):
        curve = analysis.by_name(groups.groups[index].name)
        if curve is None:
            continue
        steps.sort(key=lambda step: (step.fraction, step.units))
        found += zip(steps, _rising(curve, steps), strict=True)
    return found


def ranks(groups: Groups, analysis: Analysis) -> npt.NDArray[np.float64]:
    """Return the place of each unit in the order of its curve, from 0; infinity for others.

    Raises:
        PlanError: the analysis is of another network.
    """
    found = np.full(groups.unit_count, np.inf)
    for entry in analysis.groups:
        group = groups.by_name(entry.name)
        if group is None or len(group.units) != entry.channels:
            raise PlanError(
                f"the analysis is of another network: group '{entry.name}' with "
                f"{entry.channels} channels is not there"
            )
        found[[group.units[place] for place in entry.order]] = np.arange(len(entry.order))
    return found


def _rising(curve: GroupAnalysis, steps: Iterable[Step]) -> list[float]:
    """Return the largest loss of a curve up to each step, from the points with an exact loss."""
    known = {0: 0.0}
    known.update((p.removed, p.loss) for p in curve.points if p.removed and not p.at_least)
    counts = sorted(known)
    at = np.cumsum([len(step.units) for step in steps])
    with np.errstate(invalid="ignore"):
        losses = np.interp(at, counts, [known[count] for count in counts])
    losses[np.isnan(losses) | (at > counts[-1])] = np.inf
    # The curve is straight between points: its maximum up to a step is at a point or at the step.
    peaks = np.maximum.accumulate([known[count] for count in counts])
    passed = peaks[np.searchsorted(counts, at, side="right") - 1]
    return [float(value) for value in np.maximum(losses, passed)]


def _losses_by_group(groups: Groups, overrides: Mapping[str, float]) -> dict[str, float]:
    """Return name of a group → its loss, for names of groups or layers.

    Raises:
        PlanError: a name is unknown.
    """
    found = {}
    for name, loss in overrides.items():
        owners = [group for group in groups.groups if name in (group.name, *group.layers)]
        if not owners:
            known = {name for group in groups.groups for name in (group.name, *group.layers)}
            raise PlanError(
                f"there is no group or layer '{name}' to give a threshold",
                hint=nearest_hint(name, known, "`secateur inspect` lists them"),
            )
        found.update(dict.fromkeys((group.name for group in owners), loss))
    return found
