"""The removal itself: the cheapest channel per operation saved goes, the rest compensates, again.

For a consumer with weight W [outputs, columns] and covariance C of its inputs, H⁻¹ = (C + ridge)⁻¹.
Removing the columns c with optimal compensation adds

    tr(W_c (H⁻¹_cc)⁻¹ W_cᵀ)

to its squared output error. The loss of a channel is this, relative to the output's energy
tr(W C Wᵀ), times the consumer's weight, summed over all consumers that read the channel. After the
removal W −= W_c (H⁻¹_cc)⁻¹ H⁻¹_c,: and H⁻¹ −= H⁻¹_:,c (H⁻¹_cc)⁻¹ H⁻¹_c,: (Hassibi and Stork 1993,
by blocks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..allocation.limits import NO_LIMITS, Limits
from ..allocation.order import SLACK
from ..channels.groups import Groups
from ..cost import Costs
from ..ir.network import Network
from ..progress import Progress, silent
from .gram import FLOOR, Gram
from .operators import Array, Operator

__all__ = ["RIDGE", "Surgery", "operate"]

RIDGE = 1e-3
"""Added to the diagonal of each covariance, relative to its mean: noise below it is not trusted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surgery:
    """What was removed, in which order, and the compensated weights at full size.

    Args:
        removed: mask over classes.
        steps: classes in the order they left, one tuple a step.
        losses: what each step was estimated to cost, in relative squared output change.
        achieved: fraction of the operations removed.
        tensors: initializer → compensated values, removed slices not yet taken out.
    """

    removed: npt.NDArray[np.bool_]
    steps: tuple[tuple[int, ...], ...]
    losses: tuple[float, ...]
    achieved: float
    tensors: Mapping[str, Array]


@dataclass(slots=True)
class _Consumer:
    """One group of one operator while channels leave it. Columns are inputs · taps."""

    operator: Operator
    part: int
    weight: Array
    inverse: Array
    scale: float
    rows: npt.NDArray[np.int64]
    """Class of each output."""
    columns: npt.NDArray[np.int64]
    """Class of each column."""
    places: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    """Class → its columns, for classes that may go and are still there."""

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the classes read here and what the removal of each would cost now."""
        classes = np.array(list(self.places), dtype=np.int64)
        found = np.zeros(len(classes))
        sizes = np.array([len(columns) for columns in self.places.values()])
        for size in np.unique(sizes).tolist():
            chosen = np.flatnonzero(sizes == size)
            index = np.stack([self.places[int(c)] for c in classes[chosen]])
            blocks = self.inverse[index[:, :, None], index[:, None, :]]
            weight = self.weight[:, index].transpose(1, 0, 2)
            solved = np.linalg.solve(blocks, weight.transpose(0, 2, 1))
            found[chosen] = np.einsum("nob,nbo->n", weight, solved)
        return classes, found * self.scale

    def remove(self, channel: int) -> None:
        """Take a class out of the inputs and let the other columns make up for it."""
        columns = self.places.pop(channel)
        block = self.inverse[np.ix_(columns, columns)]
        across = np.linalg.solve(block, self.inverse[columns])
        self.weight -= self.weight[:, columns] @ across
        self.inverse -= self.inverse[:, columns] @ across
        self.weight[:, columns] = 0.0
        # What rounding leaves behind must not count as a direction that is still there.
        self.inverse[columns] = 0.0
        self.inverse[:, columns] = 0.0

    def drop_outputs(self, channel: int) -> None:
        """Forget outputs that are gone: what happens to them costs nothing."""
        self.weight[self.rows == channel] = 0.0


def operate(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    grams: Mapping[str, Gram],
    weights: Mapping[str, float],
    *,
    rate: float,
    gone: npt.NDArray[np.bool_] | None = None,
    limits: Limits = NO_LIMITS,
    progress: Progress = silent,
) -> Surgery:
    """Remove channels until a fraction of the operations is gone.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups; groups without banks stay.
        operators: its multiplying nodes.
        grams: moments of what each operator reads, by its key.
        weights: how much a relative error of each operator's output counts, by its key.
        rate: fraction of the operations to remove, what is gone already included.
        gone: mask over classes that left before.
        limits: how many channels a set may lose.
        progress: told how much of the rate is reached, in per mille.
    """
    removed = np.zeros(groups.number, dtype=np.bool_) if gone is None else gone.copy()
    consumers = _consumers(network, groups, operators, grams, weights, removed)
    table = _Table(groups, consumers, limits, removed)
    costs = Costs(network, groups)
    saving = _Savings(network, groups, costs, removed)
    baseline = costs.operations()
    left = _Floors(groups)
    for channel in np.flatnonzero(removed).tolist():
        left.take(channel)
    steps: list[tuple[int, ...]] = []
    losses: list[float] = []
    saved = float(baseline - saving.operations())
    while rate * baseline - saved > SLACK * baseline:
        step = table.cheapest(saving.saved, left.open, rate * baseline - saved)
        if step is None:
            break
        losses.append(sum(float(table.loss[channel]) for channel in step))
        steps.append(step)
        for channel in step:
            removed[channel] = True
            left.take(channel)
            saving.remove(channel)
            table.remove(channel)
        saved = float(baseline - saving.operations())
        progress("surgery", round(1000 * saved / baseline), round(1000 * rate))
    return Surgery(
        removed=removed,
        steps=tuple(steps),
        losses=tuple(losses),
        achieved=1.0 - costs.operations(removed) / baseline if baseline else 0.0,
        tensors=_tensors(network, operators, consumers, grams),
    )


def _consumers(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    grams: Mapping[str, Gram],
    weights: Mapping[str, float],
    removed: npt.NDArray[np.bool_],
) -> list[_Consumer]:
    uses = {use.parameter: use.labels for use in groups.uses}
    removable = {
        group.channels[place]
        for group in groups.groups
        for bank in group.banks
        for cell in bank
        for place in cell
        if not removed[group.channels[place]]
    }
    found = []
    for operator in operators:
        labels = uses.get(operator.weight, ())
        if len(labels) < 2:
            continue  # depthwise: its channels pass through
        tensor = network.graph.initializers[operator.weight].const_value
        assert tensor is not None
        stored = tensor.numpy()
        out, into = (
            operator.matrix(np.broadcast_to(groups.classes[array], stored.shape))
            for array in labels
        )
        matrices = operator.matrix(stored.astype(np.float64))
        matrices = np.where(removed[out] | removed[into], 0.0, matrices)
        gram = grams[operator.key]
        energy = float(((matrices @ gram.covariance) * matrices).sum())
        energy += FLOOR * float((np.square(matrices).sum(axis=(1, 2)) * gram.power).sum())
        ridges = gram.ridge(RIDGE)
        for part, weight in enumerate(matrices):
            covariance = gram.covariance[part] + ridges[part] * np.eye(gram.covariance.shape[-1])
            here = np.flatnonzero(~removed[into[part][0]])
            inverse = np.zeros_like(covariance)
            inverse[np.ix_(here, here)] = np.linalg.inv(covariance[np.ix_(here, here)])
            consumer = _Consumer(
                operator=operator,
                part=part,
                weight=weight.copy(),
                inverse=inverse,
                scale=weights[operator.key] / energy if energy > 0 else 0.0,
                rows=out[part][:, 0],
                columns=into[part][0],
            )
            for channel in np.unique(consumer.columns).tolist():
                if channel in removable:
                    consumer.places[channel] = np.flatnonzero(consumer.columns == channel)
            found.append(consumer)
    return found


class _Table:
    """The current loss of every class, kept up to date as channels leave."""

    def __init__(
        self,
        groups: Groups,
        consumers: Sequence[_Consumer],
        limits: Limits,
        removed: npt.NDArray[np.bool_],
    ):
        self.consumers = consumers
        self.loss = np.zeros(groups.number)
        self._shares = [consumer.losses() for consumer in consumers]
        self._touching: dict[int, list[int]] = {}
        for number, consumer in enumerate(consumers):
            classes, losses = self._shares[number]
            self.loss[classes] += losses
            for channel in {*consumer.places, *consumer.rows.tolist()}:
                self._touching.setdefault(channel, []).append(number)
        self._banks = [
            [np.array([group.channels[place] for place in cell]) for cell in bank]
            for group in groups.groups
            for bank in group.banks
        ]
        self._counts = [limits.counts(min(map(len, bank))) for bank in self._banks]
        self._gone = [int(removed[np.concatenate(bank)].sum()) for bank in self._banks]
        self._bank_of = {int(c): k for k, b in enumerate(self._banks) for cell in b for c in cell}
        self._cells = [len(bank) for bank in self._banks]

    def cheapest(
        self, saved: Array, open_: npt.NDArray[np.bool_], budget: float
    ) -> tuple[int, ...] | None:
        """Return the step with the least loss per operation saved that fits the budget.

        Args:
            saved: operations each class would save.
            open_: mask over the classes that may still leave.
            budget: operations that may still be removed.
        """
        best, least = None, np.inf
        for number, bank in enumerate(self._banks):
            gone = self._gone[number] // self._cells[number]
            more = next((count - gone for count in self._counts[number] if count > gone), 0)
            channels = tuple(c for cell in bank for c in self._first(cell, open_, more))
            if not channels or len(channels) < more * len(bank):
                continue
            gain = float(saved[list(channels)].sum())
            if 0 < gain <= budget:
                ratio = float(self.loss[list(channels)].sum()) / gain
                if ratio < least:
                    best, least = channels, ratio
        return best

    def _first(
        self, cell: npt.NDArray[np.int64], open_: npt.NDArray[np.bool_], count: int
    ) -> list[int]:
        usable = cell[open_[cell]]
        if count == 1 and len(usable):
            return [int(usable[np.argmin(self.loss[usable])])]
        cheap: list[int] = usable[np.argsort(self.loss[usable], kind="stable")[:count]].tolist()
        return cheap

    def remove(self, channel: int) -> None:
        """Take a class out of every consumer and renew the losses that this changes."""
        self._gone[self._bank_of[channel]] += 1
        for number in self._touching.get(channel, ()):
            consumer = self.consumers[number]
            consumer.drop_outputs(channel)
            if channel in consumer.places:
                consumer.remove(channel)
            classes, losses = self._shares[number]
            self.loss[classes] -= losses
            self._shares[number] = consumer.losses()
            classes, losses = self._shares[number]
            self.loss[classes] += losses


class _Floors:
    """Which classes may still leave, where certain sets of them must each keep one."""

    def __init__(self, groups: Groups):
        self.open = np.zeros(groups.number, dtype=np.bool_)
        for group in groups.groups:
            for bank in group.banks:
                for cell in bank:
                    self.open[[group.channels[place] for place in cell]] = True
        self._sets = [np.array(floor) for floor in groups.floors]
        self._left = [len(floor) for floor in groups.floors]
        self._of: dict[int, list[int]] = {}
        for number, floor in enumerate(groups.floors):
            if len(floor) == 1:
                self.open[list(floor)] = False
            for channel in floor:
                self._of.setdefault(channel, []).append(number)
        self._gone = np.zeros(groups.number, dtype=np.bool_)

    def take(self, channel: int) -> None:
        """Note that a class left, and close what is the last of a set."""
        self.open[channel] = False
        self._gone[channel] = True
        for number in self._of.get(channel, ()):
            self._left[number] -= 1
            if self._left[number] <= 1:
                rest = self._sets[number]
                self.open[rest[~self._gone[rest]]] = False


class _Savings:
    """Operations that each class would save now, and those that are left.

    A node with R outputs, I inputs, g groups and k taps costs 2 · k · positions · R · I / g + R ·
    bias positions; a class with a outputs and b inputs among them saves the difference.
    """

    def __init__(
        self, network: Network, groups: Groups, costs: Costs, removed: npt.NDArray[np.bool_]
    ):
        self._groups = groups
        self._costs = costs
        self._removed = removed.copy()
        self.saved = np.zeros(groups.number)
        self._touching: dict[int, list[int]] = {}
        self._shapes = []
        self._shares: list[Array] = []
        surviving = groups.surviving(removed)
        self._operations = [costs.of(weighing, surviving) for weighing in groups.weighings]
        uses = {use.parameter: use.labels for use in groups.uses}
        for number, weighing in enumerate(groups.weighings):
            tensor = network.graph.initializers[weighing.weight].const_value
            assert tensor is not None
            into = uses.get(weighing.weight, ())[1:]
            inputs = np.unique(into[0]) if into else np.empty(0, np.int64)
            made = np.bincount(groups.classes[weighing.out], minlength=groups.number)
            read = np.bincount(groups.classes[inputs], minlength=groups.number)
            touched = np.flatnonzero(made + read)
            factor = 2.0 * tensor.size * weighing.positions
            factor /= len(weighing.out) * max(len(inputs), 1)
            self._shapes.append((touched, made[touched], read[touched], factor, bool(into)))
            self._shares.append(np.zeros(len(touched)))
            for channel in touched.tolist():
                self._touching.setdefault(channel, []).append(number)
            self._renew(number)

    def operations(self) -> int:
        """Return the operations left."""
        return sum(self._operations)

    def remove(self, channel: int) -> None:
        """Note that a class left."""
        self._removed[channel] = True
        surviving = self._groups.surviving(self._removed)
        for number in self._touching.get(channel, ()):
            self._operations[number] = self._costs.of(self._groups.weighings[number], surviving)
            self._renew(number)

    def _renew(self, number: int) -> None:
        touched, made, read, factor, multiplied = self._shapes[number]
        here = ~self._removed[touched]
        outputs, inputs = int((made * here).sum()), int((read * here).sum())
        elements = made * inputs + read * outputs - made * read if multiplied else made
        share = factor * elements + made * self._groups.weighings[number].bias_positions
        self.saved[touched] += share - self._shares[number]
        self._shares[number] = share


def _tensors(
    network: Network,
    operators: Sequence[Operator],
    consumers: Sequence[_Consumer],
    grams: Mapping[str, Gram],
) -> dict[str, Array]:
    """Return compensated weights, and shifts that keep each operator's mean output."""
    by_key: dict[str, list[_Consumer]] = {}
    for consumer in consumers:
        by_key.setdefault(consumer.operator.key, []).append(consumer)
    tensors: dict[str, Array] = {}
    for operator in operators:
        parts = by_key.get(operator.key)
        if parts is None:
            continue
        stored = network.array(operator.weight)
        before = operator.matrix(stored.astype(np.float64))
        after = np.stack([part.weight for part in parts])
        gone = np.stack([~part.weight.any(axis=1) for part in parts])
        after[gone] = before[gone]  # outputs that leave anyway keep their weights until then
        if np.array_equal(before, after):
            continue
        tensors[operator.weight] = operator.stored(after, stored)
        if operator.shift is not None:
            change = np.einsum("goc,gc->go", before - after, grams[operator.key].mean).ravel()
            old = network.array(operator.shift.parameter)
            moved = old.astype(np.float64) + operator.shift.sign * change.reshape(old.shape)
            tensors[operator.shift.parameter] = moved.astype(old.dtype)
    return tensors
