"""Differences between outputs and targets as a head of their own.

Sources: cost_layer.c, softmax_layer.c, blas.c, blas_kernels.cu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..framework import torch
from .delta import DeltaLoss, Deltas

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["UNKNOWN", "CostLoss", "EntropyLoss"]

UNKNOWN = -1234.0
"""SECRET_NUM: a target that does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EntropyLoss(DeltaLoss):
    """−Σ t log p over softmaxes, with the delta t − p.

    The delta is not divided by the temperature of a softmax.

    Args:
        masked: targets may be unknown.
    """

    masked: bool = False

    def deltas(self, *inputs: Tensor, seen: int = 0) -> Deltas:
        """Return the delta for logits, probabilities and targets."""
        del seen
        _, output, truth = inputs
        target = truth.reshape(output.shape)
        delta = target - output
        cost = torch.where(target != 0, -output.log(), torch.zeros_like(output))
        if self.masked:
            known = target != UNKNOWN
            delta, cost = delta * known, torch.where(known, cost, torch.zeros_like(cost))
        return Deltas(delta.reshape(inputs[0].shape), cost.sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class CostLoss(DeltaLoss):
    """Differences t − y, squared, absolute or both.

    Args:
        kind: "sse" squares; "smooth" squares below 1; "L1"; "seg" is "sse" with `background`;
            "masked" is "sse" where targets are known.
        scale: factor of the delta on its way back.
        background: factor where the target is 0, for "seg".
        smoothing: share of a target that is spread over all outputs.
        threshold: deltas smaller than this over the number of outputs are left out.
        turned: large differences of "smooth" have the wrong sign.
    """

    kind: str = "sse"
    scale: float = 1.0
    background: float = 1.0
    smoothing: float = 0.0
    threshold: float = 0.0
    turned: bool = False

    def deltas(self, *inputs: Tensor, seen: int = 0) -> Deltas:
        """Return the delta for what gets it, outputs and targets."""
        del seen
        _, output, truth = inputs
        target = truth.reshape(output.shape)
        count = output[0].numel()
        if self.smoothing:
            target = target * (1 - self.smoothing) + self.smoothing / count
        difference = target - output
        if self.kind == "masked":
            difference = torch.where(target == UNKNOWN, torch.zeros_like(output), difference)
        delta, cost = difference, difference.square()
        size, sign = difference.abs(), torch.where(difference > 0, 1.0, -1.0)
        if self.kind == "smooth":
            delta = torch.where(size < 1, difference, -sign if self.turned else sign)
            cost = torch.where(size < 1, cost, 2 * size - 1)
        elif self.kind == "L1":
            delta, cost = sign, size
        elif self.kind == "seg" and self.background != 1:
            factor = torch.where(target == 0, self.background, 1.0)
            delta, cost = delta * factor, cost * factor
        if self.threshold:
            delta = torch.where(delta.abs() < self.threshold / count, 0.0, delta)
        own = delta.reshape(inputs[0].shape)
        return Deltas(own, cost.sum(), own * self.scale)
