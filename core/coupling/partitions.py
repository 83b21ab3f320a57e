"""Partitions: which channels of a group may leave, and in which steps, so that balance rules hold.

The signature of a channel names the parts of balance rules in which it occurs. Channels of one
signature form a share; any of them may stand for another. Shares that rules connect form a
partition. A removal obeys a rule if the numbers of channels that the shares lose solve a few linear
equations (:mod:`.lattice`). Its minimal solutions are the *steps* of the partition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .indices import LabelVector, Position, UnitMask, UnitVector
from .labels import components
from .lattice import Loss, Rows, Sets, empties, minimal_losses
from .reasons import Kind, Reason
from .trace import Balance

__all__ = ["Loss", "Partition", "Share", "Shares", "UnitSets", "find_shares"]

Share = tuple[Position, ...]
"""Positions in a group of channels that are interchangeable for every balance rule."""

Signature = tuple[tuple[int, int], ...]
"""Balance rules that a unit occurs in, as pairs: number of the rule, number of the part."""

LARGEST = 250_000
"""Numbers in the equations of one partition. Larger ones (over 500 shares) lose equally many
channels from every share, or none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """Shares that lose channels together. Iteration gives the shares.

    Args:
        shares: positions in the group of the channels that may be removed.
        steps: how many channels of each share leave together. What shares lose in all is a sum of
            steps. Most partitions have one step; it takes one channel of every share. Where all
            shares are equal and that obeys the rules, it is the only step, even if others would.
        kept: sets of shares. Of each set one channel must stay, since a value would be empty.
        equations: what any loss obeys; () for multiples of the only step.
    """

    shares: tuple[Share, ...]
    steps: tuple[Loss, ...]
    kept: Sets = ()
    equations: Rows = ()

    def __iter__(self) -> Iterator[Share]:
        """Iterate over the shares."""
        return iter(self.shares)

    def __len__(self) -> int:
        """Return the number of shares."""
        return len(self.shares)

    @property
    def sizes(self) -> Loss:
        """Number of channels of each share."""
        return tuple(len(share) for share in self.shares)

    @property
    def capacity(self) -> Loss:
        """What steps could take of each share, if no channel had to stay."""
        if len(self.steps) > 1:
            return self.sizes
        times = min(n // each for n, each in zip(self.sizes, self.steps[0], strict=True) if each)
        return tuple(times * each for each in self.steps[0])

    def obeys(self, loss: Loss) -> bool:
        """Return whether a loss obeys the balance rules."""
        if self.equations:
            return not any(_product(row, loss) for row in self.equations)
        (step,) = self.steps
        place = next(share for share, each in enumerate(step) if each)
        return all(
            loss[place] * each == count * step[place]
            for count, each in zip(loss, step, strict=True)
        )

    def allows(self, loss: Loss) -> bool:
        """Return whether the shares have so many channels, and each value keeps one."""
        fits = all(count <= size for count, size in zip(loss, self.sizes, strict=True))
        return fits and not empties(loss, self.sizes, self.kept)

    def path(self, start: Loss | None = None, end: Loss | None = None) -> list[Loss]:
        """Return losses that lead from one to another, each a step larger than the one before.

        The next step is the one after which the most affected share has lost the smallest part of
        its channels; of equal ones, the smallest step. Whatever is chosen, `end` can be reached.

        Args:
            start: what is lost already; it is left out of the path. None for nothing.
            end: where the path ends, a loss that obeys the rules. None to go on while a step fits.
        """
        sizes = self.sizes
        lost = start if start is not None else (0,) * len(sizes)
        found: list[Loss] = []
        if len(self.steps) == 1:
            return self._straight(lost, end if end is not None else self.capacity)
        while True:
            following = [
                after
                for step in self.steps
                if self.allows(after := _sum(lost, step))
                and (end is None or all(a <= b for a, b in zip(after, end, strict=True)))
            ]
            if not following:
                return found
            lost = min(following, key=lambda loss: _unevenness(loss, sizes))
            found.append(lost)

    def _straight(self, start: Loss, end: Loss) -> list[Loss]:
        """Return the path where there is one step, without a last loss that empties a value."""
        (step,) = self.steps
        room = zip(start, end, step, strict=True)
        times = min((last - first) // each for first, last, each in room if each)
        found = [
            tuple(count + done * each for count, each in zip(start, step, strict=True))
            for done in range(1, times + 1)
        ]
        return found if not found or self.allows(found[-1]) else found[:-1]


def _product(row: Sequence[int], loss: Loss) -> int:
    return sum(factor * count for factor, count in zip(row, loss, strict=True))


def _sum(first: Loss, second: Loss) -> Loss:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _unevenness(loss: Loss, sizes: Loss) -> tuple[float, int]:
    """Return the largest part that a share loses, and the whole loss."""
    return max(count / size for count, size in zip(loss, sizes, strict=True)), sum(loss)


@dataclass(frozen=True, slots=True)
class Shares:
    """The partitions of a group, and the channels that are in none.

    Args:
        partitions: in the order of their first channel.
        refused: reasons with the positions of the channels that cannot be removed for them. Fixed
            channels are not among them.
    """

    partitions: tuple[Partition, ...]
    refused: tuple[tuple[Reason, tuple[Position, ...]], ...]


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures of all units.

    Args:
        number: unit → number of its signature, [units].
        entries: the signatures by their numbers.
    """

    number: npt.NDArray[np.int64]
    entries: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class UnitSets:
    """Sets of units, one after another.

    Args:
        units: the units of all sets; a set may name one several times.
        starts: where each set begins.
    """

    units: UnitVector
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, units: UnitVector, sets: Sequence[LabelVector]) -> UnitSets:
        """Return the units (label → unit, [labels]) of sets of labels, without empty ones."""
        full = [labels for labels in sets if len(labels)]
        lengths = np.array([0, *map(len, full)], dtype=np.int64)
        flat = np.concatenate(full) if full else np.empty(0, dtype=np.int64)
        return cls(UnitVector(units[flat]), np.cumsum(lengths)[:-1])

    def range_of(self, values: npt.NDArray[np.int64]) -> tuple[LabelVector, LabelVector]:
        """Return the smallest and the largest value in each set; `values` belong to `units`."""
        if not len(self.starts):
            return self.starts, self.starts
        return (
            np.minimum.reduceat(values, self.starts),
            np.maximum.reduceat(values, self.starts),
        )

    def single(self) -> list[int]:
        """Return the units that are alone in a set."""
        first, last = self.range_of(self.units)
        return [int(unit) for unit in np.unique(first[first == last])]

    def part(self, values: npt.NDArray[np.int64], index: int) -> npt.NDArray[np.int64]:
        """Return the values of one set."""
        rest = values[self.starts[index] :]
        return rest if index + 1 == len(self.starts) else values[slice(*self.starts[index:][:2])]


@dataclass(frozen=True, slots=True)
class _Cells:
    """Signatures that rules connect, with the free channels of each, and what must stay of them."""

    signatures: Sequence[Signature]
    free: Sequence[Share]
    kept: Sets


def find_shares(
    members: Sequence[UnitVector],
    balances: Sequence[Balance],
    fixed: UnitMask,
    nonempty: UnitSets,
) -> list[Shares]:
    """Return the partitions of every group.

    Args:
        members: units of each group.
        balances: the balance rules; their labels are units.
        fixed: mask over the units that cannot be removed.
        nonempty: sets of units of which at least one each must stay.
    """
    signatures = _signatures(balances, len(fixed))
    connected = [_connected_cells(own, signatures, fixed) for own in members]
    kept = _kept_cells(members, connected, len(fixed), nonempty)
    found = []
    for group in connected:
        partitions: list[Partition] = []
        refused: list[tuple[Reason, tuple[Position, ...]]] = []
        for shares in group:
            cells = _Cells(list(shares), list(shares.values()), next(kept))
            own, reason = _partitions(cells, balances)
            partitions += own
            free = {place for share in cells.free for place in share}
            free.difference_update(place for each in own for share in each for place in share)
            if reason is not None:
                refused.append((reason, tuple(sorted(free))))
        found.append(Shares(tuple(partitions), tuple(refused)))
    return found


def _partitions(
    cells: _Cells, balances: Sequence[Balance]
) -> tuple[list[Partition], Reason | None]:
    """Return the partitions of connected cells, and why other channels are in none."""
    sizes = tuple(len(share) for share in cells.free)
    ones: Loss = (1,) * len(sizes)
    steps: tuple[Loss, ...]
    equations: Rows
    if not any(sizes):
        return [], None
    hits = Counter(entry for signature in cells.signatures for entry in signature)
    uneven = _uneven(hits, balances)
    equal = len(set(sizes)) == 1 and sizes[0] > 1 and uneven is None
    if equal and set(hits.values()) <= {1}:
        return [Partition(shares=tuple(cells.free), steps=(ones,), kept=cells.kept)], None
    numbers = sorted({number for number, _ in hits})
    if sum(len(balances[number].labels) for number in numbers) * len(sizes) > LARGEST:
        even = uneven is None and all(sizes) and not empties(ones, sizes, cells.kept)
        steps, equations, demanding = ((ones,) if even else ()), (), numbers
    else:
        equations, demanding = _equations(cells.signatures, balances)
        steps = (ones,) if equal else minimal_losses(equations, sizes, cells.kept)
    connected = _connected_by(steps, len(sizes))
    partitions = [_partition(cells, own, steps, equations) for own in connected]
    reached = {cell for own in connected for cell in own}
    if all(size == 0 or cell in reached for cell, size in enumerate(sizes)):
        return partitions, None
    if uneven is None and not demanding:
        return partitions, Reason(Kind.ALONE, "")
    subject = (uneven or balances[demanding[0]]).subject
    return partitions, Reason(Kind.BALANCE, subject)


def _partition(
    cells: _Cells, own: Sequence[int], steps: Sequence[Loss], equations: Rows
) -> Partition:
    """Return the partition of some of the connected cells: of those that some steps take."""
    place = {cell: share for share, cell in enumerate(own)}
    steps = [step for step in steps if any(step[cell] for cell in own)]
    rows = tuple(dict.fromkeys(tuple(row[cell] for cell in own) for row in equations))
    return Partition(
        shares=tuple(cells.free[cell] for cell in own),
        steps=tuple(tuple(step[cell] for cell in own) for step in steps),
        kept=tuple(
            tuple(place[cell] for cell in kept) for kept in cells.kept if place.keys() >= set(kept)
        ),
        equations=tuple(row for row in rows if any(row)),
    )


def _connected_by(steps: Sequence[Loss], count: int) -> list[list[int]]:
    """Return the cells that steps take, in sets: steps in common connect them."""
    taken = [[cell for cell in range(count) if step[cell]] for step in steps]
    pairs = [(cells[0], cell) for cells in taken for cell in cells]
    roots = components(count, np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
    sets: dict[int, list[int]] = defaultdict(list)
    for cell in sorted({cell for cells in taken for cell in cells}):
        sets[int(roots[cell])].append(cell)
    return list(sets.values())


def _equations(
    signatures: Sequence[Signature], balances: Sequence[Balance]
) -> tuple[Rows, list[int]]:
    """Return what losses of cells obey, and the numbers of the rules that demand something.

    Each part of a rule loses as many channels as the part in which the fewest cells occur.
    """
    rules: list[int] = []
    hits: dict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
    for cell, signature in enumerate(signatures):
        for number, part in signature:
            hits[number][part, cell] += 1
    rows: dict[tuple[int, ...], None] = {}
    for number in sorted(hits):
        matrix = np.zeros((len(balances[number].labels), len(signatures)), dtype=np.int64)
        for (part, cell), times in hits[number].items():
            matrix[part, cell] = times
        base = matrix[(matrix != 0).sum(axis=1).argmin()]
        own = [tuple(row) for row in (matrix - base).tolist() if any(row)]
        rows.update(dict.fromkeys(own))
        rules += [number] if own else []
    return tuple(rows), rules


def _signatures(balances: Sequence[Balance], count: int) -> Signatures:
    """Return the signatures of `count` units, with rules in their order."""
    number = np.zeros(count, dtype=np.int64)
    entries: list[Signature] = [()]
    for index, rule in enumerate(balances):
        parts = len(rule.labels)
        units = rule.labels.reshape(-1)
        part = np.repeat(np.arange(parts), rule.labels.shape[1])
        while len(units):
            # Each round takes one occurrence of every unit: a unit may occur in a rule repeatedly.
            _, first = np.unique(units, return_index=True)
            found, back = np.unique(number[units[first]] * parts + part[first], return_inverse=True)
            number[units[first]] = len(entries) + back.reshape(-1)
            entries.extend(
                (*entries[code // parts], (index, code % parts)) for code in found.tolist()
            )
            rest = np.ones(len(units), dtype=np.bool_)
            rest[first] = False
            units, part = units[rest], part[rest]
    return Signatures(number, tuple(entries))


def _connected_cells(
    members: UnitVector, signatures: Signatures, fixed: UnitMask
) -> list[dict[Signature, Share]]:
    """Return the free channels of a group by their signatures, in sets that rules connect."""
    own = signatures.number[members]
    if not own.any():  # no rule
        free = np.flatnonzero(~fixed[members])
        return [{(): tuple(Position(int(place)) for place in free)}]
    numbers, first, counts = np.unique(own, return_index=True, return_counts=True)
    order, ends = np.argsort(own, kind="stable"), np.cumsum(counts)
    kept = fixed[members][order]
    shares: dict[Signature, Share] = {
        signatures.entries[numbers[k]]: tuple(
            order[part := slice(ends[k] - counts[k], ends[k])][~kept[part]].tolist()
        )
        for k in np.argsort(first).tolist()
    }
    return [{each: shares[each] for each in own} for own in _connected(list(shares))]


def _connected(signatures: Sequence[Signature]) -> list[list[Signature]]:
    """Return the signatures in sets: rules in common connect them."""
    rules: dict[int, int] = {}
    pairs = [
        (rules.setdefault(number, index), index)
        for index, signature in enumerate(signatures)
        for number, _ in signature
    ]
    roots = components(len(signatures), np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
    sets: dict[int, list[Signature]] = defaultdict(list)
    for root, signature in zip(roots.tolist(), signatures, strict=True):
        sets[root].append(signature)
    return list(sets.values())


def _uneven(hits: Counter[tuple[int, int]], balances: Sequence[Balance]) -> Balance | None:
    """Return a rule whose parts hold unequal numbers of cells, None without one.

    Args:
        hits: number of a rule and of a part → how often cells occur there.
        balances: the rules.
    """
    for number in sorted({number for number, _ in hits}):
        if len({hits[number, part] for part in range(len(balances[number].labels))}) > 1:
            return balances[number]
    return None


def _kept_cells(
    members: Sequence[UnitVector],
    connected: Sequence[Sequence[dict[Signature, Share]]],
    count: int,
    nonempty: UnitSets,
) -> Iterator[Sets]:
    """Yield for all connected cells, in order, the sets of cells of which one channel must stay.

    A set of units with a fixed one, or with units of several partitions, demands nothing of one
    partition alone.
    """
    cell_of = np.full(count, -1, dtype=np.int64)
    owner: list[int] = []
    place: list[int] = []
    number = 0
    for units, group in zip(members, connected, strict=True):
        for shares in group:
            for cell, share in enumerate(shares.values()):
                cell_of[units[list(share)]] = len(owner)
                owner.append(number)
                place.append(cell)
            number += 1
    found: list[dict[tuple[int, ...], None]] = [{} for _ in range(number)]
    # Units without a cell have the last owner, which is none.
    for cells, own in _within_one(cell_of, np.array([*owner, -1]), nonempty):
        found[own][tuple(place[cell] for cell in cells)] = None
    return iter([_without_supersets(sets) for sets in found])


def _without_supersets(sets: Iterable[tuple[int, ...]]) -> Sets:
    """Return the sets without those that hold a set of one cell: that one says more."""
    single = {cells[0] for cells in sets if len(cells) == 1}
    return tuple(cells for cells in sets if len(cells) == 1 or single.isdisjoint(cells))


def _within_one(
    cell_of: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], sets: UnitSets
) -> Iterable[tuple[list[int], int]]:
    """Yield the cells of each set of units that lie in one partition, with its number."""
    cells = cell_of[sets.units]
    first, last = sets.range_of(cells)
    least, most = sets.range_of(owner[cells])
    for index in np.flatnonzero((least == most) & (least >= 0)).tolist():
        one = first[index] == last[index]
        own = [int(first[index])] if one else np.unique(sets.part(cells, index)).tolist()
        yield own, int(least[index])
