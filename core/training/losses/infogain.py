"""Logarithms weighed by a matrix of classes × classes. Source: infogain_loss_layer.cpp."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ..framework import torch
from .loss import Normalized, labels_of, valued
from .multinomial import LOG_THRESHOLD

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["InfogainLoss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class InfogainLoss(Normalized):
    """−Σ_k H[label, k] log p_k, with p the softmax of the scores.

    Args:
        axis: of the classes.
        matrix: H, classes × classes; None where it is the third input.
    """

    normalization: str = "VALID"
    axis: int = 1
    matrix: np.ndarray | None = field(default=None, compare=False)

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss of scores, labels and perhaps the matrix.

        Raises:
            DataError: the matrix does not fit the classes.
        """
        del seen
        scores = inputs[0]
        axis = self.axis % scores.dim()
        classes = scores.shape[axis]
        if self.matrix is not None:
            matrix = torch.from_numpy(self.matrix).to(scores)
        else:
            matrix = inputs[2].detach()
        if matrix.numel() != classes**2:
            raise DataError(f"the matrix has {matrix.numel()} numbers for {classes} classes")
        where, valid = labels_of(inputs[1], scores, axis, self.ignore_label)
        rows = matrix.reshape(classes, classes)[where]
        logarithm = torch.log_softmax(scores, axis).movedim(axis, -1)
        outer = math.prod(scores.shape[:axis])
        floored = logarithm.detach().clamp(min=math.log(LOG_THRESHOLD))
        value = self.mean(-(rows * floored).sum(-1), valid, outer)
        return valued(value, self.mean(-(rows * logarithm).sum(-1), valid, outer))
