"""Differences that are squared near 0. Source: smooth_L1_loss_layer.cpp of the SSD fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SmoothL1Loss", "smooth"]


def smooth(difference: Tensor) -> Tensor:
    """Return d²/2 where |d| < 1, |d| − ½ elsewhere."""
    size = difference.abs()
    return torch.where(size < 1, 0.5 * difference.square(), size - 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothL1Loss(Loss):
    """Σ smooth(w · (a − b)) / N; both sides get the gradient of the weighted difference."""

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of two values of the same size, and perhaps of weights."""
        del seen
        first, second = inputs[:2]
        difference = first - second.reshape(first.shape)
        if len(inputs) > 2:
            # The engine multiplies before, but does not differentiate that product.
            weighted = inputs[2].detach().reshape(first.shape) * difference
            difference = difference + (weighted - difference).detach()
        return smooth(difference).sum() / first.shape[0]
