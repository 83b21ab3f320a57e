"""Limits of every choice of channels: multiples, the floor, and the largest fraction to remove."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import PlanError, percent_hint

__all__ = ["BY_WIDTH", "NO_LIMITS", "USUAL_LIMITS", "Limits"]

BY_WIDTH = "auto"
"""Multiples that fit the number of channels that stay: :data:`MULTIPLES`."""

MULTIPLES = ((64, 8), (8, 4))
"""Channels that stay at least → what their number is a multiple of. Engines compute 4, 8 or 16
channels together (see the table of targets); ONNX Runtime is slow with what is no multiple of 4,
even where it is one narrow layer of large maps. Larger steps lose more for the same operations."""

NEAR = 0.05
"""A rest is filled with steps that a rate so much higher would take."""

FINER = (4, 2, 1)
"""Multiples that fill the last part of a rate where multiples by width are too large for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many channels a share may lose.

    Raises:
        PlanError: a value is out of range.
    """

    round_to: int | str = BY_WIDTH
    """Keep a multiple of this many channels where some leave. auto: 8 where 64 or more stay, 4 from
    8 on, else any number."""

    max_rate: float = 1.0
    """Largest fraction of its channels that a group may lose."""

    min_keep: float = 0.1
    """Smallest fraction of its channels that a group keeps, and each layer of it; at least one
    channel. What is asked of a single layer by its own rate may go below."""

    def __post_init__(self) -> None:
        if self.round_to != BY_WIDTH and (isinstance(self.round_to, str) or self.round_to < 1):
            raise PlanError(
                f"channels must be a multiple of 1 or more, not {self.round_to}",
                hint=f"a number, or {BY_WIDTH}",
                option="round_to",
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
    def as_named(self) -> Limits:
        """Limits for numbers that users name: without a floor, and without multiples by width."""
        return replace(self.without_width, min_keep=0.0)

    @property
    def without_width(self) -> Limits:
        """The same limits, but any number of channels where multiples go by width."""
        return replace(self, round_to=1) if self.round_to == BY_WIDTH else self

    @property
    def finest(self) -> Limits:
        """The limits that the last part of a rate may go down to: they say what is in reach."""
        return self.finer[-1] if self.finer else self

    @property
    def single(self) -> bool:
        """Whether channels may leave one at a time, everywhere."""
        return self.round_to == 1

    @property
    def near(self) -> float:
        """How far from a rate steps may be that fill the rest of it, in parts of the cost.

        Not far where multiples go by width: otherwise the last hundredths of a rate take whole
        layers that cost little and hold much.
        """
        return NEAR if self.round_to == BY_WIDTH and not self.single else 1.0

    @property
    def finer(self) -> tuple[Limits, ...]:
        """Limits with ever smaller multiples, to fill what is left of a rate; none for a number."""
        if self.round_to != BY_WIDTH:
            return ()
        return tuple(
            _FinerLimits(max_rate=self.max_rate, min_keep=self.min_keep, widest=widest)
            for widest in FINER
        )

    def multiple(self, kept: int) -> int:
        """Return what a number of channels that stay must be a multiple of.

        Where it goes by width, :data:`MULTIPLES` says so.
        """
        if isinstance(self.round_to, int):
            return self.round_to
        return next((multiple for least, multiple in MULTIPLES if kept >= least), 1)

    def floor(self, channels: int, scale: float = 1.0) -> int:
        """Return the number of channels that stay at least: one, or a multiple's worth.

        Args:
            channels: number of channels of a share, a layer or a group.
            scale: how much wider it was before earlier rounds; the fraction is of that width.
        """
        kept = math.ceil(min(1.0, self.min_keep * scale) * channels - 1e-9)
        return max(1, kept, min(self.multiple(kept), channels))

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
            removed
            for removed in range(1, most + 1)
            if (channels - removed) % self.multiple(channels - removed) == 0
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _FinerLimits(Limits):
    """Limits of which multiples by width end at a smaller one."""

    widest: int

    @property
    def single(self) -> bool:
        return self.widest == 1

    @property
    def finer(self) -> tuple[Limits, ...]:
        return ()

    def multiple(self, kept: int) -> int:
        return min(Limits.multiple(self, kept), self.widest)


NO_LIMITS = Limits(min_keep=0.0, round_to=1)
"""All channels but one may be removed: for numbers that users name themselves."""

USUAL_LIMITS = Limits()
"""The limits of every choice where users name no others."""
