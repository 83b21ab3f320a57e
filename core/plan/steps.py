"""The removal order: steps in the order of their removal, and the cut at a rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..cost.network_cost import Costs
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from ..coupling.partitions import Loss
from ..errors import PlanError
from .floors import Floors, find_floors, protected_units, scale_of
from .limits import NO_LIMITS, Limits
from .losses import Quotas, legal_path

__all__ = ["Order", "Step", "check_first", "cut", "legal_steps", "partition_steps"]

SLACK = 0.005
"""Tolerance of a rate. To fill a smaller rest would take any cheap step, whatever its loss."""


@dataclass(frozen=True, slots=True)
class Step:
    """Units that are removed together, so many of every share that balance rules hold.

    Args:
        group: position of the group.
        fraction: fraction of the partition's removable units removed after this step, 0 to 1.
        units: the units.
    """

    group: int
    fraction: float
    units: tuple[Unit, ...]


Order = Sequence[Step]


def partition_steps(
    groups: Groups,
    scores: npt.NDArray[np.float64],
    limits: Limits = NO_LIMITS,
    quotas: Quotas | None = None,
) -> Iterator[list[Step]]:
    """Yield the steps of each partition of each group, the lowest scores first, ties by position.

    Channels that floors keep come last, so that few steps are illegal.

    Args:
        groups: the groups.
        scores: score of every unit [units].
        limits: the legal numbers of channels; a step leads from one to the next.
        quotas: partition → where its steps end. Others go on as far as limits allow.
    """
    number = 0
    kept = protected_units(groups, scores, find_floors(groups, limits))
    for index, group in enumerate(groups.groups):
        for partition in group.partitions:
            ranked = [
                sorted(group.members(share), key=lambda unit: (kept[unit], scores[unit], unit))
                for share in partition
            ]
            end = None if quotas is None else quotas.get(number)
            path = legal_path(partition, limits, scale_of(groups, index), end=end)
            whole = sum(partition.capacity)
            number += 1
            yield [
                Step(index, sum(after) / whole, _between(ranked, before, after))
                for before, after in pairwise(((0,) * len(ranked), *path))
            ]


def _between(ranked: Sequence[Sequence[Unit]], before: Loss, after: Loss) -> tuple[Unit, ...]:
    """Return the units that leave from one loss to the next."""
    return tuple(
        unit
        for share, first, last in zip(ranked, before, after, strict=True)
        for unit in share[first:last]
    )


def cut(
    order: Order,
    groups: Groups,
    costs: Costs,
    rate: float,
    first: Order = (),
    floors: Floors | None = None,
    *,
    near: float = 1.0,
) -> tuple[UnitMask, float]:
    """Follow an order until a fraction of the cost is removed.

    Steps that would go below a floor are left out. Bisection finds the longest start
    of the order that does not exceed `rate`: more steps never save less. Then single steps that
    still fit are added in order, of those that a rate higher by `near` would take.

    Args:
        order: the steps.
        groups: the groups of the steps.
        costs: costs of the network.
        rate: fraction of the cost to remove, 0 to 1.
        first: steps that are removed in any case; they count toward the rate.
        floors: what stays; None for one channel of each value.
        near: how far steps may be from the rate that fill what is left of it.

    Returns:
        a mask over units, and the fraction of the cost it removes.

    Raises:
        PlanError: the steps of `first` remove more than the rate.
    """
    steps = legal_steps([*first, *order], groups, floors)
    whole = costs.total()

    def achieved(removed: UnitMask) -> float:
        return 1.0 - costs.total(removed) / whole if whole else 0.0

    def longest(low: int, rate: float) -> int:
        high = len(steps)
        while low < high:
            middle = (low + high + 1) // 2
            fits = achieved(_mask(steps[:middle], groups)) <= rate
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    asked = len(legal_steps(first, groups, floors))
    check_first(achieved(_mask(steps[:asked], groups)) if asked else 0.0, rate)
    low = longest(asked, rate)
    removed = _mask(steps[:low], groups)
    reached = achieved(removed)
    closed: set[int] = set()
    for step in steps[low : longest(low, rate + near)]:
        if rate - reached <= SLACK:
            break
        if step.group in closed:
            continue
        trial = removed.copy()
        trial[list(step.units)] = True
        if (now := achieved(trial)) <= rate:
            removed, reached = trial, now
        else:
            closed.add(step.group)
    return removed, reached


def check_first(saved: float, rate: float) -> None:
    """Raise if layers with an override alone save more than the rate.

    Raises:
        PlanError: names the fraction that they save.
    """
    if saved > rate + SLACK:
        raise PlanError(
            f"the layers with rates of their own save {saved:.3f} already, over the rate {rate:g}",
            hint="raise the rate, or let these layers lose less",
        )


def _mask(steps: Sequence[Step], groups: Groups) -> UnitMask:
    return groups.mask(unit for step in steps for unit in step.units)


def legal_steps(order: Order, groups: Groups, floors: Floors | None = None) -> list[Step]:
    """Return the steps without those that would go below a floor.

    Args:
        order: the steps.
        groups: the groups of the steps.
        floors: what stays; None for one channel of each value.
    """
    floors = floors or find_floors(groups, NO_LIMITS)
    sets_of: dict[int, list[int]] = {}
    left = [len(units) for units in floors.sets]
    for number, units in enumerate(floors.sets):
        for unit in units:
            sets_of.setdefault(unit, []).append(number)
    legal = []
    for step in order:
        affected = [number for unit in step.units for number in sets_of.get(unit, ())]
        for number in affected:
            left[number] -= 1
        if any(left[number] < floors.least[number] for number in affected):
            for number in affected:
                left[number] += 1
        else:
            legal.append(step)
    return legal
