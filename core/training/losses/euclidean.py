"""Squared differences. Source: euclidean_loss_layer.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EuclideanLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EuclideanLoss(Loss):
    """Σ (a − b)² / 2N; both sides get a gradient."""

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of two values of the same size."""
        del seen
        first, second = inputs
        difference = first - second.reshape(first.shape)
        return difference.square().sum() / (2 * first.shape[0])
