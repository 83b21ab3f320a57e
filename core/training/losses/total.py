"""The sum of a value, which a file may minimise like a loss. Source: net.cpp `Init`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TotalLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TotalLoss(Loss):
    """The sum of all elements."""

    @property
    def summed(self) -> bool:
        """It is."""
        return True

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the sum."""
        del seen
        return inputs[0].sum()
