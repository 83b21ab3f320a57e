"""Overrides: what certain layers lose whatever the allocation would take of them.

The group of a layer loses the share of its channels that the user says (the nearest number that
balance rules and multiples allow), or as much as its measured curve bears at a loss of its own.
These channels leave first and count toward the rate; nothing else leaves such a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups, Partition
from ..errors import PlanError, nearest_hint
from ..plan.limits import NO_LIMITS, Limits
from ..plan.steps import Order, Step
from .threshold import step_losses

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis

__all__ = [
    "Override",
    "Quotas",
    "check_quotas",
    "nearest",
    "partitions",
    "quotas",
    "quotas_of",
    "split",
]

Quotas = Mapping[int, int]
"""Number of a partition (see :func:`partitions`) → how many channels each of its shares loses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """What the group of one layer loses: exactly one of the two.

    Args:
        rate: share of the group's channels, 0 to below 1.
        threshold: the loss it may bear on its own, in the unit of the analysis.

    Raises:
        PlanError: none or both are given, or the rate is out of range.
    """

    rate: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.threshold is None):
            raise PlanError("a layer of its own needs a rate or a threshold, and not both")
        if self.rate is not None and not 0.0 <= self.rate < 1.0:
            raise PlanError(f"the rate of a layer must be from 0 to below 1, got {self.rate:g}")

    def to_data(self) -> dict[str, float]:
        """Return plain values."""
        name = "rate" if self.rate is not None else "threshold"
        return {name: float(getattr(self, name))}


def partitions(groups: Groups) -> Iterator[tuple[int, Partition]]:
    """Yield every partition with the position of its group; partitions are numbered from 0."""
    for index, group in enumerate(groups.groups):
        for partition in group.partitions:
            yield index, partition


def quotas(
    groups: Groups,
    overrides: Mapping[str, Override],
    limits: Limits = NO_LIMITS,
    analysis: Analysis | None = None,
) -> dict[int, int]:
    """Return how many channels leave the partitions of the groups that users speak of.

    Args:
        groups: the groups.
        overrides: name of a group or of one of its layers → what it loses.
        limits: multiples and the largest share; they hold here, too.
        analysis: needed where an override has a threshold.

    Raises:
        PlanError: a name is unknown, a group is named twice with different values or keeps its
            channels for a reason, a rate is over the limit, or the analysis is missing.
    """
    wanted = _by_group(groups, overrides)
    borne: dict[int, dict[int, int]] = {}
    for index, (name, override) in wanted.items():
        group = groups.groups[index]
        if analysis is not None and group.prunable and analysis.by_name(group.name) is None:
            raise PlanError(f"the analysis left out '{name}', so that nothing orders its channels")
        if override.threshold is not None:
            if analysis is None:
                raise PlanError(
                    f"the threshold of '{name}' needs an analysis", hint="secateur ana makes one"
                )
            borne[index] = _borne(groups, analysis, index, override.threshold, limits)
    found: dict[int, int] = {}
    for number, (index, partition) in enumerate(partitions(groups)):
        if index not in wanted:
            continue
        name, override = wanted[index]
        if override.rate is None:
            found[number] = borne[index].get(number, 0)
            continue
        if override.rate > limits.max_rate:
            raise PlanError(
                f"'{name}' is to lose {override.rate:g} of its channels, but no group may lose "
                f"more than {limits.max_rate:g}"
            )
        found[number] = nearest(override.rate, min(map(len, partition)), limits)
    return found


def nearest(rate: float, channels: int, limits: Limits = NO_LIMITS) -> int:
    """Return the number of channels nearest to a rate that may be gone; the lower of two."""
    return min((0, *limits.counts(channels)), key=lambda gone: (abs(gone - rate * channels), gone))


def quotas_of(groups: Groups, removed: npt.NDArray[np.bool_]) -> dict[int, int]:
    """Return how many channels a mask over units takes of each share of every partition."""
    return {
        number: int(removed[[groups.groups[index].units[place] for place in partition[0]]].sum())
        for number, (index, partition) in enumerate(partitions(groups))
    }


def split(order: Order, groups: Groups, wanted: Quotas) -> tuple[list[Step], list[Step]]:
    """Return the steps that leave in any case, and those of all partitions without a quota.

    Args:
        order: the steps, those of a partition in the order they leave.
        groups: the groups they belong to.
        wanted: the quotas.
    """
    partition_of = {
        groups.groups[index].units[place]: (number, len(partition))
        for number, (index, partition) in enumerate(partitions(groups))
        for share in partition
        for place in share
    }
    gone: dict[int, int] = defaultdict(int)
    first, rest = [], []
    for step in order:
        number, shares = partition_of[step.units[0]]
        if number not in wanted:
            rest.append(step)
            continue
        gone[number] += len(step.units) // shares
        if gone[number] <= wanted[number]:
            first.append(step)
    return first, rest


def check_quotas(groups: Groups, removed: npt.NDArray[np.bool_], wanted: Quotas) -> None:
    """Raise where a partition did not lose what it was to lose.

    Raises:
        PlanError: it names the group.
    """
    found = quotas_of(groups, removed)
    for number, (index, _) in enumerate(partitions(groups)):
        if number in wanted and found[number] != wanted[number]:
            group = groups.groups[index]
            raise PlanError(
                f"group '{group.name}' cannot lose {wanted[number]} channels, only "
                f"{found[number]}: each layer keeps at least one"
            )


def _by_group(groups: Groups, overrides: Mapping[str, Override]) -> dict[int, tuple[str, Override]]:
    """Return position of a group → the name users gave, and what they want of it."""
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
                raise PlanError(f"no channel of '{name}' can be removed: {why}")
            found[index] = name, override
    return found


def _borne(
    groups: Groups, analysis: Analysis, index: int, loss: float, limits: Limits
) -> dict[int, int]:
    """Return what the partitions of a group lose where its curve bears a loss."""
    if analysis.threshold is not None and loss != analysis.threshold:
        raise PlanError(
            f"the analysis follows its curves to a loss of {analysis.threshold:g} only, not "
            f"{loss:g}",
            hint="analyse again without --threshold",
        )
    removed = np.zeros(groups.unit_count, dtype=np.bool_)
    for step, cost in step_losses(groups, analysis, limits):
        if step.group == index and cost <= loss:
            removed[list(step.units)] = True
    return quotas_of(groups, removed)
