"""Overrides: rates or thresholds that users set for single layers, instead of the allocation.

With a rate, the group of the layer loses that fraction of its channels: the nearest number that
balance rules and multiples allow, even below the floor of other groups. A rate over 0 for which
nothing would leave is an error. With a threshold, it loses
as much as its measured curve allows at that loss, down to the floor. These channels are removed
first and count toward the rate. The group loses no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..coupling.groups import Groups
from ..coupling.partitions import Loss
from ..errors import PlanError, nearest_hint, percent_hint
from ..plan.limits import USUAL_LIMITS, Limits
from ..plan.quotas import Quotas, partitions, quotas_of
from .group_losses import GroupLosses
from .threshold import step_losses

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis

__all__ = ["Override", "missed_rates", "override_quotas"]

NOTED_MISS = 0.01
"""A rate that is missed by more than this, and by a whole channel, is told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """An override for the group of one layer: either a rate or a threshold.

    Args:
        rate: fraction of the group's channels to remove, 0 to below 1.
        threshold: loss allowed for this group alone, in the unit of the analysis.

    Raises:
        PlanError: neither or both are given, or the rate is out of range.
    """

    rate: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.threshold is None):
            raise PlanError("a layer of its own needs a rate or a threshold, and not both")
        if self.rate is not None and not 0.0 <= self.rate < 1.0:
            raise PlanError(
                f"the rate of a layer must be from 0 to below 1, got {self.rate:g}",
                hint=percent_hint(self.rate),
            )

    def to_data(self) -> dict[str, float]:
        """Return plain values."""
        name = "rate" if self.rate is not None else "threshold"
        return {name: float(getattr(self, name))}


def override_quotas(
    groups: Groups,
    overrides: Mapping[str, Override],
    limits: Limits = USUAL_LIMITS,
    analysis: Analysis | None = None,
) -> Quotas:
    """Return the quotas of the partitions of all groups that have an override.

    Args:
        groups: the groups.
        overrides: name of a group or of one of its layers → override.
        limits: limits of every choice; they also apply to overrides. A rate may go below the floor.
        analysis: loss curves; needed if an override has a threshold.

    Raises:
        PlanError: a name is unknown, a group has two different overrides, no channel of a group
            can be removed, a rate is over the limit or cannot be met, or the analysis is missing.
    """
    wanted = _by_group(groups, overrides)
    found: dict[int, Loss] = {}
    for index, (name, override) in wanted.items():
        group = groups.groups[index]
        if analysis is not None and group.prunable and analysis.by_name(group.name) is None:
            raise PlanError(f"the analysis left out '{name}', so that nothing orders its channels")
        if override.threshold is not None:
            if analysis is None:
                raise PlanError(
                    f"the threshold of '{name}' needs an analysis", hint="secateur ana makes one"
                )
            found |= _allowed(groups, analysis, index, override.threshold, limits)
            continue
        assert override.rate is not None, "an override has a rate or a threshold"
        if group.prunable and override.rate > limits.max_rate:
            raise PlanError(
                f"'{name}' is to lose {override.rate:g} of its channels, but no group may lose "
                f"more than {limits.max_rate:g}"
            )
        found |= GroupLosses.of(groups, index, limits.as_named).at_rate(override.rate, name)
    return dict(sorted(found.items()))


def missed_rates(
    groups: Groups, overrides: Mapping[str, Override], quotas: Quotas
) -> tuple[str, ...]:
    """Return in words which layers lose clearly more or less than their own rate.

    Args:
        groups: the groups.
        overrides: as for :func:`override_quotas`.
        quotas: what it returned.
    """
    notes = []
    for index, (name, override) in _by_group(groups, overrides).items():
        own = [n for n, (owner, _) in enumerate(partitions(groups)) if owner == index]
        lost = sum(sum(quotas[number]) for number in own)
        channels = sum(sum(each.capacity) for each in groups.groups[index].partitions)
        missed = abs(lost - (override.rate or 0.0) * channels)
        if override.rate and missed >= max(1, NOTED_MISS * channels):
            notes.append(
                f"'{name}' loses {lost} of {channels} channels, where {override.rate:g} of them "
                "was asked: no number that it can lose is nearer"
            )
    return tuple(notes)


def _by_group(groups: Groups, overrides: Mapping[str, Override]) -> dict[int, tuple[str, Override]]:
    """Return position of a group → the name that the user gave, and the override.

    Raises:
        PlanError: as in :func:`override_quotas`.
    """
    known = {name for group in groups.groups for name in (group.name, *group.layers)}
    found: dict[int, tuple[str, Override]] = {}
    for name, override in overrides.items():
        if name not in known:
            raise PlanError(
                f"there is no layer '{name}' that makes channels",
                hint=nearest_hint(name, known, "`secateur inspect` lists them"),
            )
        for index, group in enumerate(groups.groups):
            if name not in (group.name, *group.layers):
                continue
            if index in found and found[index][1] != override:
                raise PlanError(
                    f"'{found[index][0]}' and '{name}' share their channels, but are to lose "
                    "different numbers"
                )
            if not group.prunable and override.rate != 0:
                why = group.reason if group.reason is not None else "it is excluded"
                hint = group.reason.remedy if group.reason is not None else None
                raise PlanError(f"no channel of '{name}' can be removed: {why}", hint=hint)
            found[index] = name, override
    return found


def _allowed(groups: Groups, analysis: Analysis, index: int, loss: float, limits: Limits) -> Quotas:
    """Return the quotas of a group's partitions at which its curve does not exceed a loss.

    Raises:
        PlanError: the curves end at another loss.
    """
    if analysis.threshold is not None and loss != analysis.threshold:
        raise PlanError(
            f"the analysis follows its curves to a loss of {analysis.threshold:g} only, not "
            f"{loss:g}",
            hint="analyse again without --threshold",
        )
    steps = step_losses(groups, analysis, limits)
    units = [
        unit for step, cost in steps if step.group == index and cost <= loss for unit in step.units
    ]
    lost = quotas_of(groups, groups.mask(units))
    own = [number for number, (owner, _) in enumerate(partitions(groups)) if owner == index]
    return {number: lost[number] for number in own}
