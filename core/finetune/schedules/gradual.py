"""Gradual schedules: the rate rises along a curve, and the channels of the lowest scores leave.

With t from 0 to 1, a first rate a and a last rate b:

- linear: a + (b − a) · t
- geometric: 1 − (1 − a)^(1 − t) · (1 − b)^t; each event removes the same part of what is left
- cubic: b + (a − b) · (1 − t)³; fast while there are many channels, slow in the end

Source: Zhu and Gupta, To prune, or not to prune, 2017, arXiv 1710.01878 (cubic); the same part at
each event is how iterative pruning usually goes (Frankle and Carbin, ICLR 2019).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ...criteria.registry import Scores
from ..target import Target
from .registry import SCHEDULES, Event, Memory, Schedule

__all__ = ["Cubic", "Geometric", "Gradual", "Linear"]


@dataclass(frozen=True)
class Gradual(Schedule):
    """A curve of rates."""

    events: ClassVar = 50

    @abstractmethod
    def rate(self, first: float, last: float, part: float) -> float:
        """Return the rate after a part of the events, 0 to 1."""

    def begin(self, target: Target, scores: Scores) -> Memory:  # noqa: ARG002
        """Return the memory before the first update."""
        return Memory(removed=target.before)

    def change(self, target: Target, memory: Memory, event: Event) -> Memory:
        """Return the memory with the channels that leave at an event."""
        first = target.reached(target.before)
        rate = self.rate(first, target.rate, event.number / event.count)
        last = event.number == event.count
        return Memory(removed=target.toward(rate, event.scores, memory.removed, filled=last))


@dataclass(frozen=True)
class Linear(Gradual):
    """The rate rises evenly."""

    summary: ClassVar = "the rate rises evenly"
    source: ClassVar = "a straight line"

    def rate(self, first: float, last: float, part: float) -> float:
        """Return the rate after a part of the events."""
        return first + (last - first) * part


@dataclass(frozen=True)
class Geometric(Gradual):
    """Each event removes the same part of what is left."""

    summary: ClassVar = "each event removes the same part of what is left"
    source: ClassVar = "Frankle and Carbin, ICLR 2019"

    def rate(self, first: float, last: float, part: float) -> float:
        """Return the rate after a part of the events."""
        return float(1.0 - (1.0 - first) ** (1.0 - part) * (1.0 - last) ** part)


@dataclass(frozen=True)
class Cubic(Gradual):
    """Fast at first, slow in the end."""

    summary: ClassVar = "fast at first, slow in the end"
    source: ClassVar = "Zhu and Gupta, 2017"

    def rate(self, first: float, last: float, part: float) -> float:
        """Return the rate after a part of the events."""
        return float(last + (first - last) * (1.0 - part) ** 3)


SCHEDULES.add("linear", entry=Linear())
SCHEDULES.add("geometric", entry=Geometric())
SCHEDULES.add("cubic", entry=Cubic())
