"""The registry of schedules, and what a schedule says at each event.

A schedule keeps nothing itself: what it remembers is a :class:`Memory` of arrays, which stands in
checkpoints. What is drawn at random follows from the seed and the number of the update. So a
training that is resumed goes on as if it had never stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...coupling.indices import UnitMask
from ...criteria.registry import Scores
from ...registry import Registry
from ..target import Target

__all__ = ["SCHEDULES", "Event", "Memory", "Schedule"]


REMOVED = "removed"
"""Name under which a checkpoint holds who is gone for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What a schedule remembers from one update to the next.

    Args:
        removed: mask over units: those that are gone for good.
        arrays: what else it keeps, by name.
    """

    removed: UnitMask
    arrays: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it as arrays by name, for a checkpoint."""
        return {REMOVED: self.removed, **self.arrays}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Memory:
        """Return the memory that a checkpoint holds."""
        rest = {name: array for name, array in arrays.items() if name != REMOVED}
        return cls(removed=UnitMask(arrays[REMOVED].astype(np.bool_)), arrays=rest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A moment at which a schedule may change the masks.

    Args:
        number: from 1.
        count: of all events.
        scores: score of every unit now; the lowest leave first.
    """

    number: int
    count: int
    scores: Scores


class Schedule(ABC):
    """A way in which channels leave. At the last event the target is reached."""

    summary: ClassVar[str]
    """One line for `--sparsify help`."""
    source: ClassVar[str]
    """Its paper or code."""
    events: ClassVar[int]
    """How many events are usual."""

    @abstractmethod
    def begin(self, target: Target, scores: Scores) -> Memory:
        """Return the memory before the first update.

        Args:
            target: what is to be removed.
            scores: score of every unit.
        """

    @abstractmethod
    def change(self, target: Target, memory: Memory, event: Event) -> Memory:
        """Return the memory after an event; the last one removes what is still missing."""

    def present(
        self,
        memory: Memory,  # noqa: ARG002  # for others
        generator: np.random.Generator,  # noqa: ARG002
    ) -> npt.NDArray[np.bool_] | None:
        """Return the units that take part in one update, of those that are left; None for all.

        Args:
            memory: the memory.
            generator: of this update's random numbers.
        """
        return None

    def penalties(self, memory: Memory) -> npt.NDArray[np.float64] | None:  # noqa: ARG002
        """Return the factor of the L2 penalty of each unit [units]; None without penalties.

        The gradient of a weight w grows by factor · w.
        """
        return None

    def notes(self, memory: Memory) -> tuple[str, ...]:  # noqa: ARG002
        """Return what a user must know in the end."""
        return ()


SCHEDULES: Registry[Schedule] = Registry(
    "schedule", package=__name__.rpartition(".")[0], group="secateur.schedules"
)
"""Every schedule by its name."""
