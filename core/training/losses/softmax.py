"""Softmax with the logarithm of the true class. Source: softmax_loss_layer.cpp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .loss import Normalized, labels_of, valued

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SoftmaxLoss"]

LARGEST = -math.log(1.1754943508222875e-38)
"""−log FLT_MIN: no logarithm is taken of less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxLoss(Normalized):
    """−log of the probability that softmax gives the true class.

    Args:
        axis: of the classes.
    """

    normalization: str = "VALID"
    axis: int = 1

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of scores and labels."""
        del seen
        scores, labels = inputs
        axis = self.axis % scores.dim()
        where, valid = labels_of(labels, scores, axis, self.ignore_label)
        logarithm = torch.log_softmax(scores, axis)
        terms = -logarithm.gather(axis, where.unsqueeze(axis)).squeeze(axis)
        outer = math.prod(scores.shape[:axis])
        clipped = self.mean(terms.detach().clamp(max=LARGEST), valid, outer)
        return valued(clipped, self.mean(terms, valid, outer))
