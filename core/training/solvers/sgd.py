"""Stochastic gradient descent with momentum.

Sources: sgd_solver.cpp, nesterov_solver.cpp `ComputeUpdateValue`; convolutional_kernels.cu
`update_convolutional_layer_gpu`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .settings import Method

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Momentum", "Nesterov", "RatedMomentum"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Momentum(Method):
    """v ← m·v + g; w ← w − rate·v: a change of the rate acts on old gradients too."""

    momentum: float = 0.0

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return rate · v."""
        del number
        (kept,) = history
        kept.mul_(self.momentum).add_(gradient)
        return kept * rate


@dataclass(frozen=True, kw_only=True, slots=True)
class RatedMomentum(Method):
    """v ← m·v + rate·g; w ← w − v: old gradients keep the rate of their time."""

    momentum: float = 0.0

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return v."""
        del number
        (kept,) = history
        return kept.mul_(self.momentum).add_(gradient, alpha=rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class Nesterov(Method):
    """v ← m·v + rate·g; w ← w − (1 + m)·v + m·(v before)."""

    momentum: float = 0.0

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return (1 + m)·v − m·(v before)."""
        del number
        (kept,) = history
        before = kept * self.momentum
        kept.copy_(before).add_(gradient, alpha=rate)
        return kept * (1 + self.momentum) - before
