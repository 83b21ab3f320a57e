"""Limits that hold whatever chooses the channels: multiples, a smallest and a largest share."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PlanError

__all__ = ["NO_LIMITS", "Limits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many channels a set of them may lose.

    Args:
        round_to: channels that stay are a multiple of this, where any leave.
        max_rate: largest share of a set that may leave.

    Raises:
        PlanError: a value is out of range.
    """

    round_to: int = 1
    max_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.round_to < 1:
            raise PlanError(f"channels must be a multiple of 1 or more, not {self.round_to}")
        if not 0.0 < self.max_rate <= 1.0:
            raise PlanError(f"the largest rate must be over 0 and up to 1, got {self.max_rate:g}")

    def counts(self, channels: int) -> list[int]:
        """Return how many of so many channels may be gone, in rising order, 0 left out."""
        most = int(channels * self.max_rate + 1e-9)
        return [
            gone
            for gone in range(1, most + 1)
            if gone < channels and (channels - gone) % self.round_to == 0
        ]


NO_LIMITS = Limits()
"""Anything may leave but the last channel."""
