"""Distances of pairs. Source: contrastive_loss_layer.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .loss import Loss, valued

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ContrastiveLoss"]

EPSILON = 1e-4
"""Added to a distance that a derivative is divided by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveLoss(Loss):
    """d² where a pair is alike, else max(margin − d, 0)²; the sum over 2N.

    Args:
        margin: distance that pairs which differ should have.
        legacy: max(margin − d², 0) for pairs that differ.
    """

    margin: float = 1.0
    legacy: bool = False

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of two values and of 1 for each pair that is alike."""
        del seen
        first, second, alike = inputs
        count = first.shape[0]
        squares = (first - second).flatten(1).square().sum(1)
        same = alike.reshape(-1) != 0
        if self.legacy:
            apart = torch.relu(self.margin - squares)
            return torch.where(same, squares, apart).sum() / (2 * count)
        with torch.no_grad():
            distance = squares.sqrt()
            short = torch.relu(self.margin - distance)
            value = torch.where(same, squares, short.square()).sum() / (2 * count)
            factor = torch.where(same, 1.0, -short / (distance + EPSILON))
        return valued(value, (factor * squares).sum() / (2 * count))
