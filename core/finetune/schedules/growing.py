"""Growing regularisation: an L2 penalty of each channel that grows until its weights are gone.

- `greg`: the channels that leave are chosen at the start, by their scores. Their penalty grows by
  the same amount at each event, up to the ceiling; at the last event they leave.
- `increg`: at each event the channels of a share are ranked by their scores; a channel's place is
  the mean of its ranks so far. Its penalty changes by Δ(rank of that mean), the function of
  structured probabilistic pruning, and is never below 0: channels that gain weight recover. A
  channel whose penalty reaches the ceiling leaves.

The penalty acts on all weights that leave with a channel: those that make it, those that read it,
and the factors and shifts of its normalisation, without which a normalised channel would not fade.

Source: Wang et al., Neural Pruning via Growing Regularization, ICLR 2021, arXiv 2012.09243 (greg;
its ceiling is 1), and Structured Pruning for Efficient ConvNets via Incremental Regularization,
2018, arXiv 1811.08390, with its author's code (IncReg by MingSun-Tse: u = 0.25). Both grow for
ten thousands of updates: 1e-4 at each event. Here the ceiling is reached in the events there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...coupling.indices import UnitMask
from ...criteria.registry import Scores
from ..target import Target
from .probabilistic import (
    FORCED,
    LEAVE,
    change_of,
    forced_notes,
    leave_of,
    left_by_rank,
    shares_of,
)  # fmt: skip
from .registry import SCHEDULES, Event, Memory, Schedule

__all__ = ["Growing", "Incremental"]

PENALTY, MEAN, CHOSEN = "penalty", "mean", "chosen"
"""Arrays of the memory: λ of each unit; the mean of its ranks; 1 for those that leave."""


@dataclass(frozen=True)
class Growing(Schedule):
    """The penalty of channels that were chosen at the start grows evenly.

    Args:
        ceiling: the penalty at the last event.
    """

    summary: ClassVar = "a penalty grows on the lowest scores of the start, then they leave"
    source: ClassVar = "Wang et al., ICLR 2021"
    events: ClassVar = 100

    ceiling: float = 1.0

    def begin(self, target: Target, scores: Scores) -> Memory:
        """Return the memory before the first update: who is to leave, without a penalty yet."""
        chosen = target.toward(target.rate, scores, target.before)
        arrays = {PENALTY: np.zeros(len(scores)), CHOSEN: chosen.astype(np.float64)}
        return Memory(removed=target.before, arrays=arrays)

    def change(self, target: Target, memory: Memory, event: Event) -> Memory:
        """Return the memory with larger penalties; after the last event with none."""
        chosen = memory.arrays[CHOSEN]
        if event.number == event.count:
            removed = UnitMask(target.before | (chosen > 0))
            arrays = {**memory.arrays, PENALTY: np.zeros(len(chosen))}
            return replace(memory, removed=removed, arrays=arrays)
        penalty = self.ceiling * event.number / max(1, event.count - 1) * chosen
        return replace(memory, arrays={**memory.arrays, PENALTY: penalty})

    def penalties(self, memory: Memory) -> npt.NDArray[np.float64] | None:
        """Return the penalty of each unit."""
        found = memory.arrays[PENALTY]
        return found if found.any() else None


@dataclass(frozen=True)
class Incremental(Schedule):
    """Penalties follow the mean ranks of channels.

    Args:
        ceiling: the penalty at which a channel leaves.
        part: of the events after which a channel that was always last leaves.
        balance: u.
    """

    summary: ClassVar = "a penalty follows the ranks of channels; at its ceiling they leave"
    source: ClassVar = "Wang et al., Incremental Regularization, 2018"
    events: ClassVar = 200

    ceiling: float = 1.0
    part: float = 0.2
    balance: float = 0.25

    def begin(self, target: Target, scores: Scores) -> Memory:
        """Return the memory before the first update."""
        arrays = {
            PENALTY: np.zeros(len(scores)),
            MEAN: np.zeros(len(scores)),
            LEAVE: leave_of(target, scores),
        }
        return Memory(removed=target.before, arrays=arrays)

    def change(self, target: Target, memory: Memory, event: Event) -> Memory:
        """Return the memory with other penalties; channels at the ceiling are gone."""
        penalty, mean = memory.arrays[PENALTY].copy(), memory.arrays[MEAN].copy()
        removed, shares, forced = memory.removed, shares_of(target, memory), 0.0
        largest = self.ceiling / max(1.0, self.part * event.count)
        for share in shares:
            ranked, missing = left_by_rank(share, removed, event.scores)
            if missing <= 0:
                penalty[ranked] = 0.0
                continue
            ranks = np.arange(len(ranked), dtype=np.float64)
            mean[ranked] += (ranks - mean[ranked]) / event.number
            ranked = ranked[np.lexsort((ranked, mean[ranked]))]
            delta = change_of(ranks, missing, largest, self.balance)
            penalty[ranked] = np.maximum(penalty[ranked] + delta, 0.0)
            full = penalty[ranked] >= self.ceiling * (1.0 - 1e-9)
            removed = target.legal(removed, ranked[full].tolist()[:missing])
        if event.number == event.count:
            order = mean / max(1, len(mean)) - penalty
            before, removed = removed, target.filled(removed, order, shares)
            forced = float((removed & ~before).sum())
            penalty = np.zeros_like(penalty)
        penalty = np.where(removed, 0.0, penalty)
        arrays = {**memory.arrays, PENALTY: penalty, MEAN: mean, FORCED: np.array([forced])}
        return replace(memory, removed=removed, arrays=arrays)

    def notes(self, memory: Memory) -> tuple[str, ...]:
        """Return whether channels had to leave at the last event."""
        return forced_notes(memory)

    def penalties(self, memory: Memory) -> npt.NDArray[np.float64] | None:
        """Return the penalty of each unit."""
        found = memory.arrays[PENALTY]
        return found if found.any() else None


SCHEDULES.add("greg", entry=Growing())
SCHEDULES.add("increg", entry=Incremental())
