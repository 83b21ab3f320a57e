"""Margins of each class against all others. Source: hinge_loss_layer.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .loss import Loss, labels_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HingeLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HingeLoss(Loss):
    """Σ max(0, 1 ∓ x) / N, minus for the true class.

    Args:
        squared: whether each margin is squared.
    """

    squared: bool = False

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of scores and labels."""
        del seen
        scores = inputs[0].flatten(1)
        where, _ = labels_of(inputs[1], scores, 1, None)
        sign = torch.ones_like(scores).scatter_(1, where.unsqueeze(1), -1.0)
        margins = torch.relu(1 + sign * scores)
        return (margins.square() if self.squared else margins).sum() / scores.shape[0]
