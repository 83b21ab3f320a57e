"""Softmax with the logarithm of each class, for samples that hold several classes in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ShareLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareLoss(Loss):
    """−Σ share · log softmax, the mean over samples: SoftmaxLoss where each share is 0 or 1."""

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of scores and shares, both N×classes (scores may have sides of 1)."""
        del seen
        scores, shares = inputs[0].flatten(1), inputs[1]
        return -(torch.log_softmax(scores, 1) * shares).sum() / max(len(scores), 1)
