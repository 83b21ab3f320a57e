"""Softmax of every pixel, for maps of scores that are smaller than the maps of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import functional
from .loss import Loss
from .softmax import SoftmaxLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MapLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MapLoss(Loss):
    """The softmax loss of all pixels that count, labels resized to the scores by nearest pixels.

    Args:
        ignore_label: pixels of this class do not count.
    """

    ignore_label: int = 255

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of scores (N×classes×H×W) and labels (N×h×w)."""
        scores, labels = inputs
        if labels.shape[1:] != scores.shape[2:]:
            sized = functional.interpolate(labels[:, None].float(), scores.shape[2:])
            labels = sized[:, 0].long()
        return SoftmaxLoss(ignore_label=self.ignore_label)(scores, labels, seen=seen)
