"""The removal order: steps that leave one after another, and the place where a rate cuts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..cost.network_cost import Costs
from ..coupling.groups import Groups
from ..errors import PlanError
from .limits import NO_LIMITS, Limits

__all__ = ["Order", "Step", "bank_steps", "check_first", "cut", "legal_steps"]

Removed = npt.NDArray[np.bool_]

SLACK = 0.005
"""A rate that is met to this is met: to fill the rest would take cheap steps at any loss."""


@dataclass(frozen=True, slots=True)
class Step:
    """Channels that leave at once: as many of every cell of a bank, so that balance rules hold.

    `share` is the part of the bank's removable channels gone after this step.
    """

    group: int
    share: float
    classes: tuple[int, ...]


Order = Sequence[Step]


def bank_steps(
    groups: Groups, scores: npt.NDArray[np.float64], limits: Limits = NO_LIMITS
) -> Iterator[list[Step]]:
    """Yield the steps of each bank of each group, the lowest scores first, ties by position.

    A step takes as many channels as `limits` wants to see gone at once.
    """
    for index, group in enumerate(groups.groups):
        for bank in group.banks:
            ranked = [
                sorted((group.channels[place] for place in cell), key=lambda c: (scores[c], c))
                for cell in bank
            ]
            count = min(len(cell) for cell in ranked)
            sizes = limits.counts(count)
            yield [
                Step(
                    index,
                    gone / count,
                    tuple(channel for cell in ranked for channel in cell[before:gone]),
                )
                for before, gone in pairwise((0, *sizes))
            ]


def cut(
    order: Order, groups: Groups, costs: Costs, rate: float, first: Order = ()
) -> tuple[Removed, float]:
    """Follow an order until a fraction of the cost is gone.

    Steps that would empty a value are left out. The longest run that does not exceed `rate` is
    found by bisection (removing more never costs more); then single steps that still fit are added
    in order, so that what is missing is less than the cheapest step left.

    Args:
        order: the steps.
        groups: the groups the steps belong to.
        costs: of the network.
        rate: fraction of the cost to remove, 0 to 1.
        first: steps that leave in any case; they count toward the rate.

    Returns:
        a mask over classes, and the fraction of the cost it removes.

    Raises:
        PlanError: what leaves in any case is more than the rate.
    """
    steps = legal_steps([*first, *order], groups)
    baseline = costs.total()

    def achieved(removed: Removed) -> float:
        return 1.0 - costs.total(removed) / baseline if baseline else 0.0

    low, high = len(legal_steps(first, groups)), len(steps)
    check_first(achieved(_mask(steps[:low], groups)) if low else 0.0, rate)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if achieved(_mask(steps[:middle], groups)) <= rate else (low, middle - 1)
        )
    removed = _mask(steps[:low], groups)
    reached = achieved(removed)
    closed: set[int] = set()
    for step in steps[low:]:
        if rate - reached <= SLACK:
            break
        if step.group in closed:
            continue
        trial = removed.copy()
        trial[list(step.classes)] = True
        if (gone := achieved(trial)) <= rate:
            removed, reached = trial, gone
        else:
            closed.add(step.group)
    return removed, reached


def check_first(gone: float, rate: float) -> None:
    """Raise where what leaves in any case is more than the rate.

    Raises:
        PlanError: it says how much that is.
    """
    if gone > rate + SLACK:
        raise PlanError(
            f"the layers with rates of their own save {gone:.3f} already, over the rate {rate:g}",
            hint="raise the rate, or let these layers lose less",
        )


def _mask(steps: Sequence[Step], groups: Groups) -> Removed:
    removed = np.zeros(groups.number, dtype=np.bool_)
    removed[[channel for step in steps for channel in step.classes]] = True
    return removed


def legal_steps(order: Order, groups: Groups) -> list[Step]:
    """Return the steps without those that would leave a value with no channel."""
    floors_of: dict[int, list[int]] = {}
    left = []
    for number, floor in enumerate(groups.floors):
        left.append(len(floor))
        for channel in floor:
            floors_of.setdefault(channel, []).append(number)
    legal = []
    for step in order:
        touched = [number for channel in step.classes for number in floors_of.get(channel, ())]
        for number in touched:
            left[number] -= 1
        if any(left[number] < 1 for number in touched):
            for number in touched:
                left[number] += 1
        else:
            legal.append(step)
    return legal
