"""The table of allocations by name, and which of them fits what the user gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..errors import PlanError, nearest_hint
from ..plan.limits import NO_LIMITS, Limits
from ..plan.steps import Order

if TYPE_CHECKING:
    from ..sensitivity.result import Analysis

__all__ = ["ALLOCATIONS", "Allocation", "Request", "allocation", "find_allocation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What an allocation may look at.

    Args:
        groups: the groups; those without partitions keep all their channels.
        limits: multiples and the largest share.
        saved: what each unit saves of the budget as long as all others are there.
        scores: one number for each unit, the lowest leave first; None where curves decide.
        analysis: measured sensitivities.
        threshold: the loss that each group may bear.
    """

    groups: Groups
    limits: Limits = NO_LIMITS
    saved: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64] | None = None
    analysis: Analysis | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """A named way to say how many channels leave each group.

    `order(request)` returns the order in which channels leave, which a rate cuts. Where
    `needs_threshold` is set, all of it leaves.
    """

    name: str
    summary: str
    source: str
    order: Callable[[Request], Order]
    needs_analysis: bool = False
    needs_threshold: bool = False


ALLOCATIONS: dict[str, Allocation] = {}


def allocation(
    name: str,
    *,
    summary: str,
    source: str,
    needs_analysis: bool = False,
    needs_threshold: bool = False,
) -> Callable[[Callable[[Request], Order]], Callable[[Request], Order]]:
    """Register a function that orders steps under a name."""

    def register(function: Callable[[Request], Order]) -> Callable[[Request], Order]:
        if name in ALLOCATIONS:
            raise RuntimeError(f"two allocations are called {name!r}")
        ALLOCATIONS[name] = Allocation(
            name, summary, source, function, needs_analysis, needs_threshold
        )
        return function

    return register


def find_allocation(name: str) -> Allocation:
    """Return the allocation of a name.

    Raises:
        PlanError: there is none; names the known ones.
    """
    if name not in ALLOCATIONS:
        otherwise = f"known are {', '.join(sorted(ALLOCATIONS))}"
        hint = nearest_hint(name, ALLOCATIONS, otherwise)
        raise PlanError(f"unknown allocation '{name}'", hint=hint)
    return ALLOCATIONS[name]
