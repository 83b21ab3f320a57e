"""Losses that are known by their gradient alone.

Some engines state what a head adds to its inputs (its *delta*, minus the gradient) and report a
cost that is not what is minimised. Such a loss has the reported cost as its value and minus the
delta as its gradient.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..framework import torch
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DeltaLoss", "Deltas"]


@dataclass(frozen=True, slots=True)
class Deltas:
    """What a head makes of a batch.

    Args:
        own: what it adds, in the shape of its first input.
        cost: what it reports.
        passed: what reaches the layer before; None for `own`.
    """

    own: Tensor
    cost: Tensor
    passed: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaLoss(Loss):
    """A loss of which the engine says the delta. The first input gets the gradient."""

    @property
    def summed(self) -> bool:
        """Deltas are those of each sample, divided by nothing."""
        return True

    @abstractmethod
    def deltas(self, *inputs: Tensor, seen: int = 0) -> Deltas:
        """Return the delta and the cost of a batch; the arguments are those of a call."""

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the cost, with minus the delta as the gradient of the first input."""
        with torch.no_grad():
            found = self.deltas(*inputs, seen=seen)
        passed = found.own if found.passed is None else found.passed
        return _function().apply(inputs[0], passed.reshape(inputs[0].shape), found.cost)


_MADE: list[Any] = []


def _function() -> Any:
    """Return the autograd function; it is made when PyTorch is first used."""
    if not _MADE:

        class Pulled(torch.autograd.Function):
            """The cost, whose gradient is minus the delta."""

            @staticmethod
            def forward(context: Any, x: Tensor, delta: Tensor, cost: Tensor) -> Tensor:
                del x
                context.save_for_backward(delta)
                return cost.clone()

            @staticmethod
            def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
                (delta,) = context.saved_tensors
                return -delta * gradients[0], None, None

        _MADE.append(Pulled)
    return _MADE[0]
