"""Choosing where channels cost in blocks: by loss for each step of the cost, and nothing for free.

An order of removal says how much harm each of its steps does: its place in the order, times the
operations that it would save if channels cost evenly. Without blocks the order itself is then the
best choice. With blocks, each partition offers all its further losses, and that with the least harm
for the cost saved is taken, again and again. This is greedy: a layer's cost is a product of its
inputs and outputs, so the partitions are coupled and no dynamic programme over them is exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..cost.block_savings import BlockSavings
from ..cost.network_cost import Costs, MarginalSavings
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask
from ..coupling.partitions import Loss, Partition
from .floors import Floors, scale_of
from .limits import Limits
from .losses import legal_path
from .quotas import partitions
from .steps import SLACK, Order, Step, check_first, legal_steps

__all__ = ["choose_blocks", "give_back"]

NEAR = 0.01
"""Fraction of the cost by which a rate may be missed without a look at other beginnings."""

STARTS = 4
"""Other beginnings: a large block may not fit any more once small ones are taken."""


def choose_blocks(
    order: Order, groups: Groups, costs: Costs, rate: float, first: Order, floors: Floors
) -> UnitMask:
    """Return what to remove for a rate of a cost in blocks, a mask over units.

    Args:
        order: the steps; those of one partition are taken in their order.
        groups: the groups.
        costs: costs of the network, whose terms have blocks.
        rate: fraction of the cost to remove.
        first: steps that are removed in any case; they count toward the rate.
        floors: what stays.

    Raises:
        PlanError: the steps of `first` remove more than the rate.
    """
    asked = legal_steps(first, groups, floors)
    whole = costs.total()
    saved = 1.0 - costs.total(groups.mask(u for step in asked for u in step.units)) / (whole or 1.0)
    check_first(saved if asked else 0.0, rate)
    goal = (1.0 - rate) * whole
    choice = _Choice(groups, costs, floors, _offers(order, groups, costs), asked)
    starts = sorted(
        choice.offers(costs.total(choice.removed) - goal), key=lambda own: -own[1].saved
    )
    best = choice.followed(goal, SLACK * whole)
    for number, offer in starts[:STARTS]:
        if costs.total(best) - goal <= NEAR * whole:
            break
        other = _Choice(groups, costs, floors, _offers(order, groups, costs), asked)
        other.take(number, offer)
        found = other.followed(goal, SLACK * whole)
        if costs.total(found) < costs.total(best):
            best = found
    return best


class _Choice:
    """A removal in the making: what each partition may lose yet, and what that would save."""

    def __init__(
        self,
        groups: Groups,
        costs: Costs,
        floors: Floors,
        steps: dict[int, tuple[list[Step], list[float]]],
        first: Sequence[Step],
    ):
        self._costs, self._steps = costs, steps
        self._savings, self._kept = BlockSavings(groups, costs), _Kept(floors)
        self._found: dict[int, _Offer] = {}
        for step in first:
            self._savings.remove(step.units)
            self._kept.take(step.units)

    @property
    def removed(self) -> UnitMask:
        """A mask over units."""
        return self._savings.removed

    def offers(self, rest: float) -> list[tuple[int, _Offer]]:
        """Return the best offer of each partition that saves something, and at most `rest`."""
        for number, (steps, harm) in self._steps.items():
            if number not in self._found or self._found[number].saved > rest:
                self._found[number] = _best(steps, harm, self._savings, self._kept, rest)
        return [own for own in self._found.items() if own[1].steps]

    def take(self, number: int, offer: _Offer) -> None:
        """Remove the units of an offer."""
        units = [unit for step in offer.steps for unit in step.units]
        self._savings.remove(units)
        self._kept.take(units)
        steps, harm = self._steps[number]
        self._steps[number] = (steps[offer.length :], harm[offer.length :])
        touched = self._savings.terms(units)
        for other in list(self._found):
            own = (unit for step in self._steps[other][0] for unit in step.units)
            if other == number or touched & self._savings.terms(own):
                del self._found[other]

    def followed(self, goal: float, slack: float) -> UnitMask:
        """Take the best offers until the cost comes near a goal; return what is removed."""
        while (rest := self._costs.total(self.removed) - goal) > slack:
            offers = self.offers(rest)
            if not offers:
                break
            self.take(*min(offers, key=lambda own: (own[1].ratio, own[0])))
        return self.removed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Offer:
    """A further loss of a partition.

    Args:
        steps: the steps that lead there.
        length: by so many steps of the partition; some of them may be illegal.
        saved: cost.
        ratio: harm for the cost saved; infinite where no loss saves anything.
    """

    steps: tuple[Step, ...] = ()
    length: int = 0
    saved: float = 0.0
    ratio: float = float("inf")


def _offers(
    order: Order, groups: Groups, costs: Costs
) -> dict[int, tuple[list[Step], list[float]]]:
    """Return for each partition its steps in their order, and the harm of each."""
    even = MarginalSavings(groups, costs).saved
    owner = {
        unit: number
        for number, (index, partition) in enumerate(partitions(groups))
        for share in partition
        for unit in groups.groups[index].members(share)
    }
    found: dict[int, tuple[list[Step], list[float]]] = defaultdict(lambda: ([], []))
    for place, step in enumerate(order, 1):
        steps, harm = found[owner[step.units[0]]]
        steps.append(step)
        harm.append(place / len(order) * float(even[list(step.units)].sum()))
    return dict(found)


def _best(
    steps: Sequence[Step], harm: Sequence[float], savings: BlockSavings, kept: _Kept, rest: float
) -> _Offer:
    """Return the loss with the least harm for its saving, of those that save at most `rest`."""
    legal = kept.legal(steps)
    path = [steps[place].units for place in legal]
    if not path:
        return _Offer()
    saved = savings.after(path)
    done = np.cumsum([harm[place] for place in legal])
    fitting = (saved > 0) & (saved <= rest * (1 + 1e-9))
    if not fitting.any():
        return _Offer()
    ratio = np.full(len(path), np.inf)
    ratio[fitting] = done[fitting] / saved[fitting]
    end = int(np.argmin(ratio))
    return _Offer(
        steps=tuple(steps[place] for place in legal[: end + 1]),
        length=legal[end] + 1,
        saved=float(saved[end]),
        ratio=float(ratio[end]),
    )


class _Kept:
    """How many units of each floor's set are left."""

    def __init__(self, floors: Floors):
        self._least = floors.least
        self._left = Counter({k: len(units) for k, units in enumerate(floors.sets)})
        self._sets_of: dict[Unit, list[int]] = defaultdict(list)
        for number, units in enumerate(floors.sets):
            for unit in units:
                self._sets_of[unit].append(number)

    def take(self, units: Sequence[Unit]) -> None:
        """Note a removal."""
        self._left.subtract(number for unit in units for number in self._sets_of.get(unit, ()))

    def legal(self, steps: Sequence[Step]) -> list[int]:
        """Return the positions of the steps that go below no floor, taken one after another."""
        lost: Counter[int] = Counter()
        found = []
        for place, step in enumerate(steps):
            own = Counter(number for unit in step.units for number in self._sets_of.get(unit, ()))
            if all(self._left[k] - lost[k] - n >= self._least[k] for k, n in own.items()):
                lost.update(own)
                found.append(place)
        return found


def give_back(
    groups: Groups,
    costs: Costs,
    removed: UnitMask,
    worth: npt.NDArray[np.float64],
    *,
    limits: Limits,
    asked: Collection[int] = (),
) -> UnitMask:
    """Return a removal without what saves nothing: the best channels stay, for the same cost.

    Args:
        groups: the groups.
        costs: costs whose terms have blocks.
        removed: the removal, a mask over units.
        worth: of every unit [units]; of channels that could stay, those worth most do.
        limits: the legal numbers of channels.
        asked: partitions of which the user said how many channels leave; nothing comes back there.
    """
    savings = BlockSavings(groups, costs, removed)
    lost = {
        number: _steps_of(groups, index, partition, removed, worth, limits)
        for number, (index, partition) in enumerate(partitions(groups))
        if number not in asked
    }
    changed = True
    while changed:
        changed = False
        steps = [(_worth(units, worth), number, units)
                 for number, own in lost.items() for units in own]  # fmt: skip
        for _, number, units in sorted(steps, key=lambda step: (-step[0], *step[1:])):
            # Without the last step a removal is legal, and so without another one of its size.
            if len(units) == len(lost[number][-1]) and savings.give_back(units):
                lost[number].remove(units)
                changed = True
    return savings.removed


def _worth(units: Sequence[Unit], worth: npt.NDArray[np.float64]) -> float:
    return float(worth[list(units)].mean())


def _steps_of(
    groups: Groups,
    index: int,
    partition: Partition,
    removed: UnitMask,
    worth: npt.NDArray[np.float64],
    limits: Limits,
) -> list[tuple[Unit, ...]]:
    """Return the removed units of a partition in legal steps, those worth least first."""
    shares = [
        sorted((u for u in groups.groups[index].members(share) if removed[u]),
               key=lambda unit: (worth[unit], unit))
        for share in partition
    ]  # fmt: skip
    end: Loss = tuple(len(share) for share in shares)
    if not any(end):
        return []
    path = [
        loss for loss in legal_path(partition, limits, scale_of(groups, index))
        if all(a <= b for a, b in zip(loss, end, strict=True)) and loss != end
    ]  # fmt: skip
    losses: list[Loss] = [(0,) * len(shares), *path, end]
    return [
        tuple(u for share, a, b in zip(shares, before, after, strict=True) for u in share[a:b])
        for before, after in pairwise(losses)
    ]
