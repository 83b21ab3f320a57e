"""Limits of every choice of channels: multiples, and the largest fraction to remove."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PlanError

__all__ = ["NO_LIMITS", "Limits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many channels a share may lose.

    Raises:
        PlanError: a value is out of range.
    """

    round_to: int = 1
    """Keep a multiple of this many channels in every group that loses some."""

    max_rate: float = 1.0
    """Largest fraction of its channels that a group may lose."""

    def __post_init__(self) -> None:
        if self.round_to < 1:
            raise PlanError(
                f"channels must be a multiple of 1 or more, not {self.round_to}", option="round_to"
            )
        if not 0.0 < self.max_rate <= 1.0:
            raise PlanError(
                f"the largest rate must be over 0 and up to 1, got {self.max_rate:g}",
                option="max_rate",
            )

    def counts(self, channels: int) -> list[int]:
        """Return the legal numbers of channels to remove from a share, rising, without 0.

        Args:
            channels: number of channels of the share; at least one always stays.
        """
        most = int(channels * self.max_rate + 1e-9)
        return [
            removed
            for removed in range(1, most + 1)
            if removed < channels and (channels - removed) % self.round_to == 0
        ]


NO_LIMITS = Limits()
"""All channels but one may be removed."""
