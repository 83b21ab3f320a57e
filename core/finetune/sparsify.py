"""Options of pruning during training. Each is spelled, documented and checked here alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import PlanError, percent_hint
from ..plan.limits import USUAL_LIMITS, Limits

__all__ = ["SparsifyOptions"]


@dataclass(frozen=True, kw_only=True)
class SparsifyOptions:
    """How channels leave while a network is trained, until a rate is reached.

    The network keeps its size; the channels that left are zero, and a plan names them.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    method: str = ""
    """Let channels leave during training, by this schedule."""

    rate: float | None = None
    """Fraction of the operations to remove during training, over 0 to below 1."""

    every: int | None = None
    """Updates between two events at which channels may leave. If not given, as many as the schedule
    needs events."""

    ramp: float = 0.5
    """Part of the training in which channels leave; the rest trains what is left."""

    criterion: str = "l1"
    """Which channels leave first: a criterion that needs no data."""

    exclude: Sequence[str] = ()
    """Keep all channels of this layer."""

    limits: Limits = USUAL_LIMITS
    """Multiples, the floor and the largest fraction, for every group."""

    def __post_init__(self) -> None:
        criterion: Any = self.criterion  # a function, where a program gives one
        if not isinstance(criterion, str):
            from ..criteria.registry import named_criterion

            object.__setattr__(self, "criterion", named_criterion(criterion))
        if not self.method and self.rate is not None:
            raise PlanError(
                "a rate needs a schedule by which channels leave",
                hint="--sparsify cubic; --sparsify help lists them",
                option="rate",
            )
        if self.method and self.rate is None:
            raise PlanError("a schedule needs a rate to reach", hint="--rate 0.5", option="method")
        if self.rate is not None and not 0.0 < self.rate < 1.0:
            raise PlanError(
                f"the rate must be over 0 and below 1, got {self.rate:g}",
                hint=percent_hint(self.rate),
                option="rate",
            )
        if self.every is not None and self.every < 1:
            raise PlanError(f"it must be over 0, got {self.every}", option="every")
        if not 0.0 < self.ramp <= 1.0:
            raise PlanError(
                f"a part is over 0 and up to 1, got {self.ramp:g}",
                hint=percent_hint(self.ramp),
                option="ramp",
            )

    def plain(self) -> dict[str, Any]:
        """Return all options as plain values, for checkpoints and provenance."""
        return {**asdict(self), "exclude": list(self.exclude), "limits": asdict(self.limits)}
