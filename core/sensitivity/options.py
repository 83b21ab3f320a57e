"""Options of an analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import PlanError, percent_hint

if TYPE_CHECKING:  # options load without what computes
    from ..evaluation.task import Task

__all__ = ["MEMORY", "RATES", "AnalyzeOptions"]

RATES = tuple(k / 10 for k in range(1, 10))
"""Shares of channels that curves are measured at; the vendor's tools use the same."""

MEMORY = 2 << 30
"""Bytes that inner values of all samples may take; beyond that they are computed again."""


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions:
    """What an analysis measures.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    criterion: str = "l1"
    """Which channels are removed first."""

    task: Task | str | None = None
    """What the network is measured by, instead of what the data calls for: the name of a task."""

    rates: Sequence[float] = RATES
    """Fractions of the channels of a group to remove."""

    threshold: float | None = None
    """Follow each curve only to where it first exceeds this loss: faster, and enough for
    `secateur prune --threshold` with this loss or a smaller one."""

    rising: bool = False
    """With a threshold: bisect, assuming that losses only rise. Faster, but noisy curves may be
    decided differently."""

    exclude: Sequence[str] = ()
    """Leave out the group of this layer."""

    jobs: int | None = None
    """Threads to use. If not given: all cores, or the whole cluster."""

    memory: int = MEMORY
    """Memory for values inside the network, in bytes. What does not fit is computed again."""

    def __post_init__(self) -> None:
        criterion: Any = self.criterion  # a function, where a program gives one
        if not isinstance(criterion, str):
            from ..criteria.registry import named_criterion

            object.__setattr__(self, "criterion", named_criterion(criterion))
        if not self.rates:
            raise PlanError("there are no rates to measure at", option="rates")
        for rate in self.rates:
            if not 0.0 < rate < 1.0:
                raise PlanError(
                    f"rates must be over 0 and below 1, got {rate:g}",
                    hint=percent_hint(rate),
                    option="rates",
                )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise PlanError(
                f"the threshold must be a number, got {self.threshold:g}", option="threshold"
            )
        if self.rising and self.threshold is None:
            raise PlanError("rising goes with a threshold only", option="rising")
        if self.jobs is not None and self.jobs < 1:
            raise PlanError(f"jobs must be at least 1, got {self.jobs}", option="jobs")
        if self.memory < 0:
            raise PlanError(f"memory must not be negative, got {self.memory}", option="memory")
