"""Gradients that an engine computes in its own way, and not as the derivative of what it computes.

Sources: activations.c, activation_kernels.cu, blas.c `backward_shortcut_multilayer_cpu`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
        step: size of blocks, for kinds with such.
    """

    kind: str
    source: str
    step: int = 1


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


@functools.lru_cache(maxsize=16)
def _places(shape: tuple[int, ...], step: int) -> np.ndarray:
    """Return for each value of a map, block by block, the place in memory that it is read from.

    Where blocks do not divide the channels, images read parts of others.
    """
    _images, channels, rows, columns = shape
    inner = channels // step**2
    b, k, j, i = np.indices(shape, sparse=True)
    offset = k // inner
    column, row = i * step + offset % step, j * step + offset // step
    return column + columns * step * (row + rows * step * (k % inner + inner * b))


def _blocks(x: Tensor, y: Tensor, step: int) -> Tensor:
    """Return the values at those places; 0 beyond the end."""
    places = _places(tuple(x.shape), step).reshape(-1)
    inside = torch.from_numpy(places < x.numel()).to(x.device)
    where = torch.from_numpy(np.minimum(places, x.numel() - 1)).to(x.device)
    return (x.reshape(-1)[where] * inside).reshape(y.shape)


def _blocks_back(x: Tensor, gradient: Tensor, step: int) -> Tensor:
    """Write gradients to those places; of several at one place, the last stays."""
    places = _places(tuple(x.shape), step).reshape(-1)
    last = np.full(x.numel(), -1, np.int64)
    inside = places < x.numel()
    last[places[inside]] = np.flatnonzero(inside)
    written = torch.from_numpy(last >= 0).to(x.device)
    where = torch.from_numpy(np.maximum(last, 0)).to(x.device)
    return (gradient.reshape(-1)[where] * written).reshape(x.shape)


PASSINGS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "straight": _straight,
    "gelu": _gelu,
    "channels": _channels,
    "channels softmax": _channels_softmax,
}
"""Kinds: each takes what the gradient goes to, what was computed, and its gradient. One more,
"blocks", computes the value anew: in a batch it is not what each image has alone."""

_MADE: list[Any] = []


def pass_back(x: Tensor, y: Tensor, passing: Passing) -> Tensor:
    """Return `y`, whose gradient goes to `x` as `passing` says.

    Args:
        x: what `y` was computed from.
        y: what was computed.
        passing: what its gradient does.
    """
    if not _MADE:

        class Passed(torch.autograd.Function):
            """A value with a gradient of its own."""

            @staticmethod
            def forward(context: Any, x: Tensor, y: Tensor, passing: Passing) -> Tensor:
                context.save_for_backward(x, y)
                context.passing = passing
                return _blocks(x, y, passing.step) if passing.kind == "blocks" else y.clone()

            @staticmethod
            def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
                x, y = context.saved_tensors
                passing = context.passing
                if passing.kind == "blocks":
                    return _blocks_back(x, gradients[0], passing.step), None, None
                return PASSINGS[passing.kind](x, y, gradients[0]), None, None

        _MADE.append(Passed)
    found: Tensor = _MADE[0].apply(x, y.detach(), passing)
    return found
