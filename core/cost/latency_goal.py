"""A latency to reach: so many milliseconds, or a part of what the original takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import PlanError

__all__ = ["LatencyGoal"]

UNITS = {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
"""Unit of time → milliseconds."""


@dataclass(frozen=True, slots=True)
class LatencyGoal:
    """A latency to reach.

    Args:
        value: milliseconds of one sample, or a fraction of the original's.
        relative: whether it is that fraction.
    """

    value: float
    relative: bool

    @classmethod
    def of(cls, text: str) -> LatencyGoal:
        """Return the goal that a text names: 5ms, 800us, 0.6x (of the original).

        Raises:
            PlanError: it names none.
        """
        plain = text.strip().lower().replace(" ", "")
        unit = next((one for one in ("ms", "us", "µs", "s", "x") if plain.endswith(one)), "")
        try:
            value = float(plain.removesuffix(unit)) if unit else math.nan
        except ValueError:
            value = math.nan
        if not 0.0 < value < math.inf:
            raise PlanError(
                f"'{text}' is no latency", hint="5ms, or 0.6x of the original",
                option="target_latency",
            )  # fmt: skip
        if unit != "x":
            return cls(value * UNITS[unit], relative=False)
        if value >= 1.0:
            raise PlanError(
                f"'{text}' of the original is not less than it takes", hint="0.6x, say",
                option="target_latency",
            )  # fmt: skip
        return cls(value, relative=True)

    def milliseconds(self, original: float) -> float:
        """Return it in milliseconds, where the original takes so many."""
        return self.value * original if self.relative else self.value

    def text(self) -> str:
        """Return it as users would write it."""
        return f"{self.value:g}{'x' if self.relative else 'ms'}"
