"""Methods that divide each gradient by its usual size.

Sources: adagrad_solver.cpp, rmsprop_solver.cpp, adadelta_solver.cpp, adam_solver.cpp
`ComputeUpdateValue`; blas_kernels.cu `adam_kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .settings import Method

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AdaDelta", "AdaGrad", "Adam", "RMSProp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaGrad(Method):
    """h ← h + g²; rate · g / (√h + δ)."""

    delta: float = 1e-8

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return the change."""
        del number
        (squares,) = history
        squares.addcmul_(gradient, gradient)
        return gradient.mul_(rate).div_(squares.sqrt().add_(self.delta))


@dataclass(frozen=True, kw_only=True, slots=True)
class RMSProp(Method):
    """h ← d·h + (1 − d)·g²; rate · g / (√h + δ)."""

    share: float = 0.99
    delta: float = 1e-8

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return the change."""
        del number
        (squares,) = history
        squares.mul_(self.share).addcmul_(gradient, gradient, value=1 - self.share)
        return gradient.mul_(rate).div_(squares.sqrt().add_(self.delta))


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaDelta(Method):
    """rate · g · √((δ + mean of squared changes) / (δ + mean of g²))."""

    share: float
    delta: float = 1e-8

    histories: ClassVar[int] = 2

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return the change."""
        del number
        squares, changes = history
        squares.mul_(self.share).addcmul_(gradient, gradient, value=1 - self.share)
        step = gradient.mul_(((changes + self.delta) / (squares + self.delta)).sqrt_())
        changes.mul_(self.share).addcmul_(step, step, value=1 - self.share)
        return step * rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Adam(Method):
    """m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; rate · m̂ / (√v̂ + δ).

    Args:
        first: β₁.
        second: β₂.
        delta: δ.
        inside: δ is added to the corrected √v̂, and not to √v before the correction.
    """

    first: float
    second: float = 0.999
    delta: float = 1e-8
    inside: bool = False

    histories: ClassVar[int] = 2

    def change(
        self, gradient: Tensor, history: Sequence[Tensor], rate: float, number: int
    ) -> Tensor:
        """Return the change."""
        means, squares = history
        means.mul_(self.first).add_(gradient, alpha=1 - self.first)
        squares.mul_(self.second).addcmul_(gradient, gradient, value=1 - self.second)
        root = math.sqrt(1 - self.second**number)
        first = 1 - self.first**number
        if self.inside:
            return (means * (rate / first)).div_((squares.sqrt() / root).add_(self.delta))
        return (means * (rate * root / first)).div_(squares.sqrt().add_(self.delta))
