"""The removal itself: the cheapest channel per operation saved goes, the rest compensates, again.

For a consumer with weight W [outputs, columns] and covariance C of its inputs, H⁻¹ = (C + ridge)⁻¹.
Removing the columns c with optimal compensation adds

    tr(W_c (H⁻¹_cc)⁻¹ W_cᵀ)

to its squared output error. The loss of a channel is this, relative to the output's energy
tr(W C Wᵀ), times the consumer's weight and what the estimate is off on samples that the covariance
has not seen (see :mod:`.consumers`), summed over all consumers that read the channel. After the
removal W −= W_c (H⁻¹_cc)⁻¹ H⁻¹_c,: and H⁻¹ −= H⁻¹_:,c (H⁻¹_cc)⁻¹ H⁻¹_c,: (Hassibi and Stork 1993,
by blocks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..cost.network_cost import Costs, MarginalSavings
from ..coupling.groups import Groups
from ..ir.network import Network
from ..plan.limits import NO_LIMITS, Limits
from ..plan.steps import SLACK
from ..progress import Progress, silent
from ..statistics.moments import InputMoments, InputSample
from ..statistics.operators import Array, Operator
from .consumers import Consumer, Wide, find_consumers

__all__ = ["Removal", "operate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What was removed, in which order, and the compensated weights at full size.

    Args:
        removed: mask over units.
        steps: units in the order they left, one tuple a step.
        losses: what each step was estimated to cost, in relative squared output change.
        achieved: fraction of the operations removed.
        tensors: initializer → compensated values, removed slices not yet taken out.
    """

    removed: npt.NDArray[np.bool_]
    steps: tuple[tuple[int, ...], ...]
    losses: tuple[float, ...]
    achieved: float
    tensors: Mapping[str, Array]


def operate(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
    weights: Mapping[str, float],
    *,
    rate: float,
    gone: npt.NDArray[np.bool_] | None = None,
    limits: Limits = NO_LIMITS,
    costs: Costs | None = None,
    quotas: Mapping[int, int] = MappingProxyType({}),
    first: Sequence[int] = (),
    progress: Progress = silent,
) -> Removal:
    """Remove channels until a fraction of the cost is gone.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups; groups without partitions stay.
        operators: its multiplying nodes.
        moments: moments of what each operator reads, by its key.
        weights: how much a relative error of each operator's output counts, by its key.
        rate: fraction of the cost to remove, what is gone already included.
        gone: mask over units that left before.
        limits: how many channels a set may lose.
        costs: what the rate is a fraction of; None for operations.
        quotas: number of a partition → channels that each of its shares loses, no more and no
            less. They leave first, and count toward the rate.
        first: units that leave before all others.
        progress: told of the operators looked at, then how much of the rate is reached, in per
            mille.
    """
    removed = np.zeros(groups.unit_count, dtype=np.bool_) if gone is None else gone.copy()
    consumers = find_consumers(network, groups, operators, moments, weights, removed, progress)
    table = _Table(groups, consumers, limits, quotas, removed)
    costs = costs or Costs(network, groups)
    saving = MarginalSavings(groups, costs)
    baseline = costs.total()
    left = _KeptUnits(groups)
    for unit in np.flatnonzero(removed).tolist():
        left.take(unit)
        saving.remove(unit)
    steps: list[tuple[int, ...]] = []
    losses: list[float] = []
    saved = baseline - saving.left()
    waiting = [tuple(first)] if first else []
    while waiting or table.due() or rate * baseline - saved > SLACK * baseline:
        budget = np.inf if table.due() else rate * baseline - saved
        step = waiting.pop() if waiting else table.cheapest(saving.saved, left.open, budget)
        if step is None:
            break
        losses.append(sum(float(table.loss[unit]) for unit in step))
        steps.append(step)
        for unit in step:
            removed[unit] = True
            left.take(unit)
            saving.remove(unit)
            table.remove(unit)
        saved = baseline - saving.left()
        progress("surgery", round(1000 * saved / baseline), round(1000 * rate))
    return Removal(
        removed=removed,
        steps=tuple(steps),
        losses=tuple(losses),
        achieved=1.0 - costs.total(removed) / baseline if baseline else 0.0,
        tensors=_tensors(network, operators, consumers, moments),
    )


class _Table:
    """The current loss of every unit, kept up to date as channels leave."""

    def __init__(
        self,
        groups: Groups,
        consumers: Sequence[Consumer | Wide],
        limits: Limits,
        quotas: Mapping[int, int],
        removed: npt.NDArray[np.bool_],
    ):
        self.consumers = consumers
        self._quotas = quotas
        self.loss = np.zeros(groups.unit_count)
        self._shares = [consumer.losses() for consumer in consumers]
        self._touching: dict[int, list[int]] = {}
        for number, consumer in enumerate(consumers):
            units, losses = self._shares[number]
            self.loss[units] += losses
            for unit in {*consumer.places, *consumer.rows.tolist()}:
                self._touching.setdefault(unit, []).append(number)
        self._partitions = [
            [np.array([group.units[place] for place in share]) for share in partition]
            for group in groups.groups
            for partition in group.partitions
        ]
        self._counts = [
            [gone for gone in limits.counts(min(map(len, b))) if gone <= quotas.get(k, gone)]
            for k, b in enumerate(self._partitions)
        ]
        self._gone = [
            int(removed[np.concatenate(partition)].sum()) for partition in self._partitions
        ]
        self._partition_of = {
            int(c): k for k, b in enumerate(self._partitions) for share in b for c in share
        }
        self._shares_of_a_partition = [len(partition) for partition in self._partitions]

    def due(self) -> list[int]:
        """Return the partitions that have not lost their quota yet."""
        return [
            k for k, q in self._quotas.items() if self._gone[k] < q * self._shares_of_a_partition[k]
        ]

    def cheapest(
        self, saved: Array, open_: npt.NDArray[np.bool_], budget: float
    ) -> tuple[int, ...] | None:
        """Return the step with the least loss per operation saved that fits the budget.

        Args:
            saved: operations each unit would save.
            open_: mask over the units that may still leave.
            budget: operations that may still be removed.
        """
        best, least = None, np.inf
        for number in self.due() or range(len(self._partitions)):
            partition = self._partitions[number]
            gone = self._gone[number] // self._shares_of_a_partition[number]
            more = next((count - gone for count in self._counts[number] if count > gone), 0)
            channels = tuple(c for share in partition for c in self._first(share, open_, more))
            if not channels or len(channels) < more * len(partition):
                continue
            gain = float(saved[list(channels)].sum())
            if 0 < gain <= budget:
                ratio = float(self.loss[list(channels)].sum()) / gain
                if ratio < least:
                    best, least = channels, ratio
        return best

    def _first(
        self, share: npt.NDArray[np.int64], open_: npt.NDArray[np.bool_], count: int
    ) -> list[int]:
        usable = share[open_[share]]
        if count == 1 and len(usable):
            return [int(usable[np.argmin(self.loss[usable])])]
        cheap: list[int] = usable[np.argsort(self.loss[usable], kind="stable")[:count]].tolist()
        return cheap

    def remove(self, unit: int) -> None:
        """Take a unit out of every consumer and renew the losses that this changes."""
        self._gone[self._partition_of[unit]] += 1
        for number in self._touching.get(unit, ()):
            consumer = self.consumers[number]
            consumer.drop_outputs(unit)
            if unit in consumer.places:
                consumer.remove(unit)
            units, losses = self._shares[number]
            self.loss[units] -= losses
            self._shares[number] = consumer.losses()
            units, losses = self._shares[number]
            self.loss[units] += losses


class _KeptUnits:
    """Which units may still leave, where certain sets of them must each keep one."""

    def __init__(self, groups: Groups):
        self.open = np.zeros(groups.unit_count, dtype=np.bool_)
        for group in groups.groups:
            for partition in group.partitions:
                for share in partition:
                    self.open[[group.units[place] for place in share]] = True
        self._sets = [np.array(kept) for kept in groups.kept_units]
        self._left = [len(kept) for kept in groups.kept_units]
        self._of: dict[int, list[int]] = {}
        for number, kept in enumerate(groups.kept_units):
            if len(kept) == 1:
                self.open[list(kept)] = False
            for unit in kept:
                self._of.setdefault(unit, []).append(number)
        self._gone = np.zeros(groups.unit_count, dtype=np.bool_)

    def take(self, unit: int) -> None:
        """Note that a unit left, and close what is the last of a set."""
        self.open[unit] = False
        self._gone[unit] = True
        for number in self._of.get(unit, ()):
            self._left[number] -= 1
            if self._left[number] <= 1:
                rest = self._sets[number]
                self.open[rest[~self._gone[rest]]] = False


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
        gone = np.stack([~part.weight.any(axis=1) for part in parts])
        after[gone] = before[gone]  # outputs that leave anyway keep their weights until then
        if np.array_equal(before, after):
            continue
        tensors[operator.weight] = operator.stored(after, stored)
        if operator.shift is not None:
            change = np.einsum("goc,gc->go", before - after, moments[operator.key].mean).ravel()
            old = network.array(operator.shift.parameter)
            moved = old.astype(np.float64) + operator.shift.sign * change.reshape(old.shape)
            tensors[operator.shift.parameter] = moved.astype(old.dtype)
    return tensors
