"""Logarithms of given probabilities. Source: multinomial_logistic_loss_layer.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loss import Loss, labels_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LOG_THRESHOLD", "MultinomialLoss"]

LOG_THRESHOLD = 1e-20
"""kLOG_THRESHOLD of loss_layer.hpp: the least probability that a logarithm is taken of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultinomialLoss(Loss):
    """−log of the probability given for the true class, over N.

    The derivative is that at the threshold where a probability is below it, and not 0.
    """

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of probabilities and labels."""
        del seen
        scores = inputs[0].flatten(1)
        where, _ = labels_of(inputs[1], scores, 1, None)
        picked = scores.gather(1, where.unsqueeze(1))
        floored = picked + (picked.clamp(min=LOG_THRESHOLD) - picked).detach()
        return -floored.log().sum() / scores.shape[0]
