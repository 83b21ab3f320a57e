"""Structured probabilistic pruning: every channel stays with a probability, drawn at each update.

p starts at 1. At each event, the channels of a share that are left are ranked by their scores, the
lowest first, and p ← clip(p − Δ(rank), 0, 1). Where m channels are still to leave:

- α = ln(2 / u) / m and N = −ln(u) / α, where m counts a few channels more than are to leave,
  since the last ones would hardly ever
- Δ(r) = A · exp(−α · r) for r < N, else 2uA − A · exp(−α · (2N − r))

Δ(m) is 0: the ranks before it lose probability, those behind it gain. A channel with p = 0 is
gone for good. Masks are drawn anew for each update; weights are put back before it, so a channel
that was dropped comes back with all its weights. When all have left, those that stay have p = 1.

Source: Wang et al., Structured Probabilistic Pruning, 2018, arXiv 1709.06994, and its author's
code (IncReg by MingSun-Tse, `conv_layer.cpp` of commit cf55166): A = 0.05, u = 0.25, and a
surplus that is set by layer. There, a unit may also be a column of a layer's weight matrix; here it
is a channel with all that leaves with it. The surplus of 0.05 is ours: with it, ranks that vary as
they do in training reach their targets in 60 to 90 events, without it often never.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...coupling.indices import UnitMask
from ...criteria.registry import Scores
from ..target import Share, Target
from .registry import SCHEDULES, Event, Memory, Schedule

__all__ = ["Probabilistic", "change_of", "forced_notes", "leave_of", "left_by_rank", "shares_of"]

PRESENT, LEAVE, FORCED = "present", "leave", "forced"
"""Arrays of the memory: p of each unit; how many units leave of each share; how many had to at the
last event."""


def change_of(
    ranks: npt.NDArray[np.float64], missing: float, largest: float, balance: float
) -> npt.NDArray[np.float64]:
    """Return Δ at some ranks.

    Args:
        ranks: from 0.
        missing: m: so many are still to leave; over 0.
        largest: A: Δ of rank 0.
        balance: u: Δ(N) / A, below 1.
    """
    slope = math.log(2.0 / balance) / missing
    middle = -math.log(balance) / slope
    # Far behind the target Δ falls exponentially; 100 · A is as good as −∞ for a probability.
    exponent = np.minimum(-slope * (2.0 * middle - ranks), math.log(100.0 / largest))
    falling = largest * np.exp(-slope * ranks)
    return np.where(ranks < middle, falling, 2.0 * balance * largest - largest * np.exp(exponent))


def left_by_rank(
    share: Share, removed: UnitMask, scores: Scores
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the units of a share that are left, the lowest scores first, and how many must leave.

    Of equal scores the first unit comes first.
    """
    units = np.array(share.units, dtype=np.int64)
    left = units[~removed[units]]
    ranked = left[np.lexsort((left, scores[left]))]
    return ranked, share.leave - (len(units) - len(left))


def leave_of(target: Target, scores: Scores) -> npt.NDArray[np.float64]:
    """Return how many channels each share is to lose [shares], as a memory keeps it."""
    return np.array([share.leave for share in target.shares(scores)], dtype=np.float64)


def forced_notes(memory: Memory) -> tuple[str, ...]:
    """Return in words how many channels had to leave at the last event; nothing for none."""
    forced, gone = int(memory.arrays.get(FORCED, np.zeros(1))[0]), int(memory.removed.sum())
    if not forced:
        return ()
    return (
        f"{forced} of {gone} channels were still on their way and left at the last event: a longer "
        "training, a larger --ramp or a smaller --every gives them time",
    )


def shares_of(target: Target, memory: Memory) -> tuple[Share, ...]:
    """Return the shares of a target with the numbers that a memory holds."""
    shares = [
        group.members(share)
        for group in target.groups.groups
        for partition in group.partitions
        for share in partition
    ]
    counts = memory.arrays[LEAVE].astype(np.int64).tolist()
    return tuple(Share(tuple(own), n) for own, n in zip(shares, counts, strict=True))


@dataclass(frozen=True)
class Probabilistic(Schedule):
    """Structured probabilistic pruning.

    Args:
        largest: A, the change of the lowest rank.
        balance: u.
        surplus: part of a share's channels that m counts beside those that are to leave.
    """

    summary: ClassVar = "channels drop out at random, the lowest scores ever more often"
    source: ClassVar = "Wang et al., Structured Probabilistic Pruning, 2018"
    events: ClassVar = 200

    largest: float = 0.05
    balance: float = 0.25
    surplus: float = 0.05

    def begin(self, target: Target, scores: Scores) -> Memory:
        """Return the memory before the first update: all are present."""
        arrays = {
            PRESENT: np.where(target.before, 0.0, 1.0),
            LEAVE: leave_of(target, scores),
        }
        return Memory(removed=target.before, arrays=arrays)

    def change(self, target: Target, memory: Memory, event: Event) -> Memory:
        """Return the memory with other probabilities; those at 0 are gone."""
        present = memory.arrays[PRESENT].copy()
        removed, shares, forced = memory.removed, shares_of(target, memory), 0.0
        for share in shares:
            ranked, missing = left_by_rank(share, removed, event.scores)
            if missing <= 0:
                continue
            ranks = np.arange(len(ranked), dtype=np.float64)
            aim = missing + math.ceil(self.surplus * len(share.units) - 1e-9)
            delta = change_of(ranks, aim, self.largest, self.balance)
            present[ranked] = np.clip(present[ranked] - delta, 0.0, 1.0)
            gone = [unit for unit in ranked.tolist() if present[unit] == 0.0][:missing]
            removed = target.legal(removed, gone)
        if event.number == event.count:
            order = present + 1e-9 * _ranks(event.scores)
            before, removed = removed, target.filled(removed, order, shares)
            forced = float((removed & ~before).sum())
        for share in shares:  # what stays for good takes part always
            ranked, missing = left_by_rank(share, removed, event.scores)
            if missing <= 0 or event.number == event.count:
                present[ranked] = 1.0
        present[removed] = 0.0
        arrays = {**memory.arrays, PRESENT: present, FORCED: np.array([forced])}
        return replace(memory, removed=removed, arrays=arrays)

    def notes(self, memory: Memory) -> tuple[str, ...]:
        """Return whether channels had to leave at the last event."""
        return forced_notes(memory)

    def present(
        self, memory: Memory, generator: np.random.Generator
    ) -> npt.NDArray[np.bool_] | None:
        """Return which units take part in one update."""
        probabilities = memory.arrays[PRESENT]
        drawn = np.asarray(generator.random(len(probabilities)) < probabilities)
        return None if drawn[~memory.removed].all() else drawn


def _ranks(scores: Scores) -> npt.NDArray[np.float64]:
    """Return the rank of each score over the number of scores, 0 to below 1."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    return ranks / max(1, len(scores))


SCHEDULES.add("spp", entry=Probabilistic())
