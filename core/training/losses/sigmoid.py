"""Cross entropy of sigmoids. Source: sigmoid_cross_entropy_loss_layer.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import functional
from .loss import Normalized

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SigmoidLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SigmoidLoss(Normalized):
    """−t log σ(x) − (1 − t) log(1 − σ(x)), summed over all elements."""

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of scores and targets 0…1 of the same size."""
        del seen
        scores, targets = inputs
        targets = targets.reshape(scores.shape).detach()
        terms = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        valid = None if self.ignore_label is None else targets.long() != self.ignore_label
        return self.mean(terms, valid, scores.shape[0])
