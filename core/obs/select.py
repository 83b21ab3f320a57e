"""Selection: remove the step with the least loss per operation saved, compensate, and repeat.

A consumer has the weight W [outputs, columns] and the covariance C of its inputs. Let
H⁻¹ = (C + ridge)⁻¹. The removal of the columns c with optimal compensation adds

    tr(W_c (H⁻¹_cc)⁻¹ W_cᵀ)

to the squared error of the output. The loss of a unit is this error relative to the output's energy
tr(W C Wᵀ), times the consumer's output sensitivity and its optimism (see :mod:`.consumers`), summed
over all consumers that read the unit. After the removal, W −= W_c (H⁻¹_cc)⁻¹ H⁻¹_c,: and
H⁻¹ −= H⁻¹_:,c (H⁻¹_cc)⁻¹ H⁻¹_c,: (Hassibi and Stork 1993, by blocks).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np

from ..cost.block_savings import BlockSavings
from ..cost.network_cost import Costs, MarginalSavings
from ..coupling.groups import Groups
from ..coupling.indices import Unit, UnitMask, UnitVector
from ..coupling.partitions import Loss, Partition
from ..ir.network import Network
from ..plan.floors import Floors, find_floors, scale_of
from ..plan.limits import Limits
from ..plan.losses import legal_path
from ..plan.quotas import Quotas, partitions
from ..plan.state import PruningState, RemovedStep
from ..plan.steps import SLACK
from ..progress import Progress, silent
from ..statistics.moments import InputMoments, InputSample
from ..statistics.operators import Array, Operator
from .consumers import Consumer, Wide, find_consumers

__all__ = ["Goal", "select_units"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """The end of a removal, and its limits.

    Args:
        rate: fraction of the cost to remove, earlier removals included.
        costs: the costs that the rate is a fraction of.
        limits: legal numbers of channels that a share may lose.
        quotas: partition → exact numbers of channels that its shares lose. These are removed
            before others, and count toward the rate.
        first: units that are removed before all others.
        floors: what stays; None for the floors of the limits, and for one channel of each layer in
            groups with a quota.
        exact: whether other steps fill the rest of the rate where the best step is too large for
            it. Passes before the last leave the rest to the next one.
    """

    rate: float
    costs: Costs
    limits: Limits = field(default_factory=Limits)
    quotas: Quotas = field(default_factory=dict)
    first: tuple[Unit, ...] = ()
    floors: Floors | None = None
    exact: bool = True

    def floors_of(self, groups: Groups) -> Floors:
        """Return what stays."""
        if self.floors is not None:
            return self.floors
        asked = {index for number, (index, _) in enumerate(partitions(groups))
                 if number in self.quotas}  # fmt: skip
        return find_floors(groups, self.limits.finest, asked)


def select_units(
    state: PruningState,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
    sensitivities: Mapping[str, float],
    goal: Goal,
    progress: Progress = silent,
) -> PruningState:
    """Remove units until a fraction of the cost is removed.

    Args:
        state: the state before the removal; groups without partitions keep their channels.
        operators: the multiplying nodes of the network.
        moments: moments of each operator's inputs, by key of the operator.
        sensitivities: output sensitivity of each operator, by its key.
        goal: where the removal ends.
        progress: reports the operators done, then the rate reached, in thousandths.

    Returns:
        the state with compensated weights at full size: removed slices stay in the arrays. Its
        history holds the estimated loss of each step, in relative squared output change.
    """
    groups, removed = state.groups, state.removed.copy()
    consumers = find_consumers(state, operators, moments, sensitivities, progress)
    table = _LossTable(groups, consumers, goal, removed)
    savings = MarginalSavings(groups, goal.costs)
    whole = goal.costs.total()
    removable = _RemovableUnits(groups, goal.floors_of(groups))
    blocks = BlockSavings(groups, goal.costs, removed) if goal.costs.in_blocks else None
    for unit in np.flatnonzero(removed).tolist():
        removable.remove(unit)
        savings.remove(unit)
    steps: list[RemovedStep] = []
    ending = _Ending(goal)
    saved = whole - savings.left()
    waiting = [goal.first] if goal.first else []
    while waiting or table.due() or goal.rate * whole - saved > SLACK * whole:
        budget = np.inf if table.due() else goal.rate * whole - saved
        if waiting:
            step: tuple[Unit, ...] | None = waiting.pop()
        elif blocks is None or table.due():
            step = ending.cheapest(table.offers(savings.saved, removable), budget)
        else:
            step = table.cheapest_block(blocks, removable, budget)
        if step is None:
            if blocks is not None or (limits := ending.finer()) is None:
                break
            table.follow(limits)
            continue
        steps.append(RemovedStep(step, sum(float(table.loss[unit]) for unit in step)))
        for unit in step:
            removed[unit] = True
            removable.remove(unit)
            savings.remove(unit)
            table.remove(unit)
        if blocks is not None:
            blocks.remove(step)
        saved = whole - savings.left()
        progress("removal", round(1000 * saved / whole), round(1000 * goal.rate))
    tensors = _tensors(state.full, operators, consumers, moments)
    return state.after(removed, tensors=tensors, steps=steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Offer:
    """The next step of a partition: its units, their loss, and the cost that they save."""

    units: tuple[Unit, ...]
    loss: float
    saved: float

    @property
    def ratio(self) -> float:
        return self.loss / self.saved


WORSE = 3.0
"""A rest is filled with steps of so many times the largest loss per operation up to then, where
channels leave several at a time. Otherwise the last hundredths of a rate take whole layers that
cost little and hold much."""


class _Ending:
    """Chooses steps up to the end of a removal, where the best one may be larger than the rest."""

    def __init__(self, goal: Goal):
        self._exact = goal.exact
        self._limits = goal.limits
        self._finer = deque(goal.limits.finer if goal.exact else ())
        self._steepest = 0.0

    def cheapest(self, offers: Sequence[_Offer], budget: float) -> tuple[Unit, ...] | None:
        """Return the step with the least loss per operation saved that fits the budget.

        Args:
            offers: the next steps of all partitions.
            budget: cost that may still be removed.
        """
        found = min(offers, key=lambda offer: offer.ratio, default=None)
        if found is not None and found.saved > budget:
            fitting = [o for o in offers if o.saved <= budget and o.ratio <= self._bound]
            found = min(fitting, key=lambda offer: offer.ratio, default=None)
        if found is None:
            return None
        self._steepest = max(self._steepest, found.ratio)
        return found.units

    def finer(self) -> Limits | None:
        """Return limits with smaller steps to go on with; None for no more."""
        if not self._finer:
            return None
        self._limits = self._finer.popleft()
        return self._limits

    @property
    def _bound(self) -> float:
        """Largest loss per operation of a step that fills the rest."""
        if not self._exact:
            return -math.inf
        if self._limits.single or not (self._steepest or self._finer):
            return math.inf
        return WORSE * self._steepest


OFFERED = 256
"""Further losses that a partition offers where channels cost in blocks: several blocks of any known
engine."""


class _LossTable:
    """The current loss of every unit, updated when units are removed.

    Args:
        groups: the groups.
        consumers: the consumers of all units.
        goal: limits and quotas.
        removed: mask over units.
    """

    def __init__(
        self,
        groups: Groups,
        consumers: Sequence[Consumer | Wide],
        goal: Goal,
        removed: UnitMask,
    ):
        self.consumers = consumers
        self._quotas = goal.quotas
        self.loss = np.zeros(groups.unit_count)
        self._losses = [consumer.losses() for consumer in consumers]
        self._consumers_of: dict[int, list[int]] = {}
        for number, consumer in enumerate(consumers):
            units, losses = self._losses[number]
            self.loss[units] += losses
            for unit in {*consumer.places, *consumer.rows.tolist()}:
                self._consumers_of.setdefault(unit, []).append(number)
        self._partitions = [
            [UnitVector(np.array(group.members(share))) for share in partition]
            for group in groups.groups
            for partition in group.partitions
        ]
        self._lost = [
            [int(removed[share].sum()) for share in partition] for partition in self._partitions
        ]
        self._scaled = [
            (partition, scale_of(groups, index)) for index, partition in partitions(groups)
        ]
        self.follow(goal.limits)
        self._place_of = {
            int(unit): (number, place)
            for number, partition in enumerate(self._partitions)
            for place, share in enumerate(partition)
            for unit in share
        }

    def _path(self, number: int, partition: Partition, limits: Limits, scale: float) -> deque[Loss]:
        """Return what the shares of a partition lose by and by."""
        limits = limits.as_named if number in self._quotas else limits
        start, end = tuple(self._lost[number]), self._quotas.get(number)
        return deque(legal_path(partition, limits, scale, start=start, end=end))

    def due(self) -> list[int]:
        """Return the partitions that have not lost their quota yet."""
        return [
            number for number, quota in self._quotas.items() if sum(self._lost[number]) < sum(quota)
        ]

    def _more(self, number: int) -> list[int]:
        """Return how many channels of each share the next step of a partition takes; [] for none.

        What was lost is on the path: units leave in whole steps.
        """
        path, lost = self._paths[number], self._lost[number]
        while path and sum(path[0]) <= sum(lost):
            path.popleft()
        return [after - before for after, before in zip(path[0], lost, strict=True)] if path else []

    def follow(self, limits: Limits) -> None:
        """Go on with other limits."""
        self._paths = [
            self._path(number, partition, limits, scale)
            for number, (partition, scale) in enumerate(self._scaled)
        ]

    def offers(self, saved: Array, removable: _RemovableUnits) -> list[_Offer]:
        """Return the next step of every partition that has one which saves something.

        Args:
            saved: cost that the removal of each unit would save [units].
            removable: the units that may be removed.
        """
        found = []
        for number in self.due() or range(len(self._partitions)):
            more = self._more(number)
            units = tuple(
                unit
                for share, count in zip(self._partitions[number], more, strict=False)
                for unit in self._lowest(share, removable.mask, count)
            )
            if not units or len(units) < sum(more) or not removable.allows(units):
                continue
            gain = float(saved[list(units)].sum())
            if gain > 0:
                found.append(
                    _Offer(units=units, loss=float(self.loss[list(units)].sum()), saved=gain)
                )
        return found

    def cheapest_block(
        self, blocks: BlockSavings, removable: _RemovableUnits, budget: float
    ) -> tuple[Unit, ...] | None:
        """Return the units with the least loss for the cost saved, where channels cost in blocks.

        Every partition offers the further losses of its path, up to :data:`OFFERED` of them.

        Args:
            blocks: what removals would save.
            removable: the units that may be removed.
            budget: cost that may still be removed.
        """
        best, least = None, np.inf
        for number, partition in enumerate(self._partitions):
            self._more(number)  # drops what is lost already
            path, lost = self._offered(number, removable), self._lost[number]
            if not path:
                continue
            ranked = [self._lowest(share, removable.mask, len(share)) for share in partition]
            steps = [
                [unit for share, a, b, gone in zip(ranked, before, after, lost, strict=True)
                 for unit in share[a - gone : b - gone]]
                for before, after in pairwise([tuple(lost), *path])
            ]  # fmt: skip
            saved = blocks.after(steps)
            loss = np.cumsum([self.loss[own].sum() for own in steps])
            fitting = (saved > 0) & (saved <= budget)
            ratio = np.divide(loss, saved, out=np.full(len(steps), np.inf), where=fitting)
            for end in np.argsort(ratio, kind="stable").tolist():
                if not ratio[end] < least:
                    break
                units = tuple(unit for own in steps[: end + 1] for unit in own)
                if removable.allows(units):
                    best, least = units, float(ratio[end])
                    break
        return best

    def _offered(self, number: int, removable: _RemovableUnits) -> list[Loss]:
        """Return the next losses of a partition for which enough of its units may leave."""
        lost, usable = self._lost[number], [
            int(removable.mask[share].sum()) for share in self._partitions[number]
        ]  # fmt: skip
        return [
            loss
            for loss in islice(self._paths[number], OFFERED)
            if all(n - gone <= most for n, gone, most in zip(loss, lost, usable, strict=True))
        ]

    def _lowest(self, share: UnitVector, removable: UnitMask, count: int) -> list[Unit]:
        """Return the `count` removable units of a share with the lowest losses."""
        usable = share[removable[share]]
        if count == 1 and len(usable):
            return [Unit(int(usable[np.argmin(self.loss[usable])]))]
        lowest: list[Unit] = usable[np.argsort(self.loss[usable], kind="stable")[:count]].tolist()
        return lowest

    def remove(self, unit: int) -> None:
        """Remove a unit from every consumer and update the losses of the units read there."""
        number, place = self._place_of[unit]
        self._lost[number][place] += 1
        for number in self._consumers_of.get(unit, ()):
            consumer = self.consumers[number]
            consumer.drop_outputs(unit)
            if unit in consumer.places:
                consumer.remove(unit)
            units, losses = self._losses[number]
            self.loss[units] -= losses
            self._losses[number] = consumer.losses()
            units, losses = self._losses[number]
            self.loss[units] += losses


class _RemovableUnits:
    """The units that may still be removed: certain sets of units keep some."""

    def __init__(self, groups: Groups, floors: Floors):
        self.mask = groups.mask(unit for group in groups.groups for unit in group.removable())
        self._sets = [np.array(units) for units in floors.sets]
        self._left = [len(units) for units in floors.sets]
        self._least = floors.least
        self._sets_of: dict[int, list[int]] = {}
        self._removed = groups.mask(())
        for number, units in enumerate(floors.sets):
            self._protect(number)
            for unit in units:
                self._sets_of.setdefault(unit, []).append(number)

    def remove(self, unit: int) -> None:
        """Note the removal of a unit, and protect the last units of each of its sets."""
        self.mask[unit] = False
        self._removed[unit] = True
        for number in self._sets_of.get(unit, ()):
            self._left[number] -= 1
            self._protect(number)

    def allows(self, units: Sequence[Unit]) -> bool:
        """Whether units may be removed together, each of which may be removed alone."""
        taken = Counter(number for unit in units for number in self._sets_of.get(unit, ()))
        return all(self._left[k] - count >= self._least[k] for k, count in taken.items())

    def _protect(self, number: int) -> None:
        """Protect what is left of a set that must not lose more."""
        if self._left[number] <= self._least[number]:
            members = self._sets[number]
            self.mask[members[~self._removed[members]]] = False


def _tensors(
    network: Network,
    operators: Sequence[Operator],
    consumers: Sequence[Consumer | Wide],
    moments: Mapping[str, InputMoments | InputSample],
) -> dict[str, Array]:
    """Return compensated weights, and shifts that keep each operator's mean output."""
    by_key: dict[str, list[Consumer | Wide]] = {}
    for consumer in consumers:
        by_key.setdefault(consumer.operator.key, []).append(consumer)
    tensors: dict[str, Array] = {}
    for operator in operators:
        parts = by_key.get(operator.key)
        if parts is None:
            continue
        stored = network.array(operator.weight)
        after = np.stack([part.weight for part in parts])
        before = operator.matrix(stored.astype(after.dtype))
        removed = np.stack([~part.weight.any(axis=1) for part in parts])
        after[removed] = before[removed]  # removed outputs keep their weights at full size
        if np.array_equal(before, after):
            continue
        tensors[operator.weight] = operator.stored(after, stored)
        if operator.shift is not None:
            change = np.einsum("goc,gc->go", before - after, moments[operator.key].mean).ravel()
            old = network.array(operator.shift.parameter)
            moved = old.astype(np.float64) + operator.shift.sign * change.reshape(old.shape)
            tensors[operator.shift.parameter] = moved.astype(old.dtype)
    return tensors
