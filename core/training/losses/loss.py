"""What losses share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ...errors import DataError
from ..framework import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NORMALIZATIONS", "Loss", "Normalized", "labels_of", "valued"]

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")
"""What a sum may be divided by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss(ABC):
    """A function of scores and targets to a scalar whose gradient trains."""

    def at(self, height: int, width: int) -> Self:
        """Return the loss for another size of the network's input, in pixels."""
        del height, width
        return self

    @property
    def summed(self) -> bool:
        """Whether the loss of a batch is a sum over its samples, not a mean."""
        return False

    @abstractmethod
    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of a batch.

        Args:
            inputs: scores and targets.
            seen: images that training saw before.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalized(Loss):
    """A loss whose sum is divided by a count.

    Source: loss_layer.cpp, softmax_loss_layer.cpp `get_normalizer`.

    Args:
        normalization: FULL: all positions; VALID: those that count; BATCH_SIZE: the axes before
            the classes; NONE: 1.
        ignore_label: positions with this label do not count; None for none.
    """

    normalization: str = "BATCH_SIZE"
    ignore_label: int | None = None

    @property
    def summed(self) -> bool:
        """Whether nothing is divided."""
        return self.normalization == "NONE"

    def mean(self, terms: Tensor, valid: Tensor | None, outer: int) -> Tensor:
        """Return the sum of terms, divided by what the normalization says, at least by 1.

        Args:
            terms: one for each position.
            valid: which of them count; None for all.
            outer: what BATCH_SIZE divides by.
        """
        total = (terms if valid is None else torch.where(valid, terms, 0.0)).sum()
        if self.normalization == "NONE":
            return total
        if self.normalization == "BATCH_SIZE":
            return total / max(outer, 1)
        if self.normalization == "VALID" and valid is not None:
            return total / valid.sum().clamp(min=1)
        return total / max(terms.numel(), 1)


def labels_of(labels: Tensor, scores: Tensor, axis: int, ignored: int | None) -> Any:
    """Return class numbers in the shape of the scores without their axis, and which count.

    Labels that do not count become class 0.

    Raises:
        DataError: they are not as many as the scores need, or name a class that is not there.
    """
    shape = [*scores.shape[:axis], *scores.shape[axis + 1 :]]
    wanted = 1
    for size in shape:
        wanted *= size
    if labels.numel() != wanted:
        raise DataError(
            f"the labels are {'×'.join(map(str, labels.shape))}, the scores "
            f"{'×'.join(map(str, scores.shape))}"
        )
    where = labels.reshape(shape).long()
    valid = None
    if ignored is not None:
        valid = where != ignored
        where = torch.where(valid, where, 0)
    classes = scores.shape[axis]
    if wanted and not bool(((where >= 0) & (where < classes)).all()):
        wrong = where[(where < 0) | (where >= classes)][0]
        raise DataError(f"label {int(wrong)} is no class of the {classes} that are scored")
    return where, valid


def valued(value: Tensor, gradient: Tensor) -> Tensor:
    """Return a scalar with one's value and another's gradient."""
    return gradient + (value - gradient).detach()
