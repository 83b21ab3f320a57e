"""Gradients that an engine computes in its own way, and not as the derivative of what it computes.

Sources: activations.c, activation_kernels.cu, blas.c `backward_shortcut_multilayer_cpu`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .framework import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PASSINGS", "Passing", "pass_back"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Passing:
    """What the gradient of a value does.

    Args:
        kind: a key of :data:`PASSINGS`.
        source: the value that it goes to, whatever lies between.
    """

    kind: str
    source: str


def _straight(x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a share is taken for that of the number that it is a share of."""
    del x, y
    return gradient


def _gelu(x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """The engine puts the output into a derivative that is meant for the input."""
    del x
    cube = y * y * y
    inner = 0.0356774 * cube + 0.797885 * y
    slope = (0.0535161 * cube + 0.398942 * y) / torch.cosh(inner).square()
    return gradient * (0.5 * torch.tanh(inner) + slope + 0.5)


def _channels(x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """Times the output where it is positive."""
    del x
    return torch.where(y > 0, gradient * y, gradient)


def _channels_softmax(x: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """As if each channel were a sigmoid."""
    del x
    return gradient * y * (1 - y)


PASSINGS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "straight": _straight,
    "gelu": _gelu,
    "channels": _channels,
    "channels softmax": _channels_softmax,
}
"""Kinds: each takes what the gradient goes to, what was computed, and its gradient."""

_MADE: list[Any] = []


def pass_back(x: Tensor, y: Tensor, kind: str) -> Tensor:
    """Return `y`, whose gradient goes to `x` as the kind says.

    Args:
        x: what `y` was computed from.
        y: what was computed.
        kind: a key of :data:`PASSINGS`.
    """
    if not _MADE:

        class Passed(torch.autograd.Function):
            """A value with a gradient of its own."""

            @staticmethod
            def forward(context: Any, x: Tensor, y: Tensor, kind: str) -> Tensor:
                context.save_for_backward(x, y)
                context.kind = kind
                return y.clone()

            @staticmethod
            def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
                x, y = context.saved_tensors
                return PASSINGS[context.kind](x, y, gradients[0]), None, None

        _MADE.append(Passed)
    found: Tensor = _MADE[0].apply(x, y.detach(), kind)
    return found
