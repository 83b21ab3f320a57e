"""Limits of every choice of channels: multiples, the floor, and the largest fraction to remove."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import PlanError, percent_hint

__all__ = ["NO_LIMITS", "USUAL_LIMITS", "Limits"]


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

    min_keep: float = 0.1
    """Smallest fraction of its channels that a group keeps, and each layer of it; at least one
    channel. What is asked of a single layer by its own rate may go below."""

    def __post_init__(self) -> None:
        if self.round_to < 1:
            raise PlanError(
                f"channels must be a multiple of 1 or more, not {self.round_to}", option="round_to"
            )
        if not 0.0 < self.max_rate <= 1.0:
            raise PlanError(
                f"the largest rate must be over 0 and up to 1, got {self.max_rate:g}",
                hint=percent_hint(self.max_rate),
                option="max_rate",
            )
        if not 0.0 <= self.min_keep < 1.0:
            raise PlanError(
                f"the fraction to keep must be from 0 to below 1, got {self.min_keep:g}",
                hint=percent_hint(self.min_keep),
                option="min_keep",
            )

    @property
    def without_floor(self) -> Limits:
        """The same limits, but all channels of a share may leave except one."""
        return replace(self, min_keep=0.0)

    def floor(self, channels: int, scale: float = 1.0) -> int:
        """Return the number of channels that stay at least: one, or a multiple's worth.

        Args:
            channels: number of channels of a share, a layer or a group.
            scale: how much wider it was before earlier rounds; the fraction is of that width.
        """
        kept = math.ceil(min(1.0, self.min_keep * scale) * channels - 1e-9)
        return max(1, kept, min(self.round_to, channels))

    def counts(self, channels: int, scale: float = 1.0, *, all_may_go: bool = False) -> list[int]:
        """Return the legal numbers of channels to remove from a share, rising, without 0.

        Args:
            channels: number of channels of the share.
            scale: as for :meth:`floor`.
            all_may_go: whether the share may lose all, since others stay beside it. Then one
                channel alone may leave, and any number without a floor.
        """
        floor = self.floor(channels, scale)
        if all_may_go and (channels == 1 or self.min_keep == 0.0):
            floor = 0
        most = min(int(channels * self.max_rate + 1e-9), channels - floor)
        return [
            removed for removed in range(1, most + 1) if (channels - removed) % self.round_to == 0
        ]


NO_LIMITS = Limits(min_keep=0.0)
"""All channels but one may be removed: for numbers that users name themselves."""

USUAL_LIMITS = Limits()
"""The limits of every choice where users name no others."""
