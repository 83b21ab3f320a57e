"""Poolings. Source: onnx.ai/onnx/operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..framework import functional, torch
from .matrix import outer_pads, pads_of
from .registry import Call, Function, operator

if TYPE_CHECKING:
    from torch import Tensor


class _Window:
    """Kernel, stride and padding of a pooling."""

    def __init__(self, call: Call):
        self.call = call
        self.kernel = call.attribute("kernel_shape")
        axes = self.axes = len(self.kernel)
        if axes not in (1, 2, 3):
            raise call.refusal(f"{axes} spatial axes")
        self.stride = call.attribute("strides", [1] * axes)
        self.dilation = call.attribute("dilations", [1] * axes)
        self.ceil = bool(call.attribute("ceil_mode", 0))
        pads = call.attribute("pads", [0] * (2 * axes))
        self.half = pads[:axes]
        self.even = (
            call.attribute("auto_pad", "NOTSET") == "NOTSET"
            and not self.ceil
            and self.half == pads[axes:]
            and all(2 * p <= k for p, k in zip(self.half, self.kernel, strict=True))
        )

    def pads(self, size: Sequence[int]) -> list[int]:
        """Return begins and ends, with what rounding up adds at the ends."""
        pads = pads_of(self.call, size, self.kernel, self.stride, self.dilation)
        if not self.ceil:
            return pads
        for axis, (i, k, s, d) in enumerate(
            zip(size, self.kernel, self.stride, self.dilation, strict=True)
        ):
            before, after = pads[axis], pads[axis + self.axes]
            room = i + before + after - d * (k - 1) - 1
            count = math.ceil(room / s) + 1
            if (count - 1) * s >= i + before:
                count -= 1  # a window must begin inside
            pads[axis + self.axes] = after + max(0, (count - 1) * s - room)
        return pads


@operator("MaxPool", cut=(1,))
def _max_pool(call: Call) -> Function:
    window = _Window(call)
    function = getattr(functional, f"max_pool{window.axes}d")
    indexed = getattr(functional, f"max_pool{window.axes}d_with_indices", None)
    kernel, stride, dilation = window.kernel, window.stride, window.dilation
    if len(call.node.outputs) > 1:
        return _with_positions(window, indexed)
    if window.even:
        half = window.half
        return lambda x: function(x, kernel, stride, half, dilation)

    def run(x: Tensor) -> Tensor:
        x = functional.pad(x, outer_pads(window.pads(x.shape[2:])), value=-math.inf)
        return function(x, kernel, stride, 0, dilation)

    return run


def _with_positions(window: _Window, indexed: Any) -> Function:
    """Return a pooling that also gives the positions of the maxima in the whole tensor."""

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        size = x.shape[2:]
        pads = window.pads(size)
        padded = functional.pad(x, outer_pads(pads), value=-math.inf)
        y, where = indexed(padded, window.kernel, window.stride, 0, window.dilation)
        position, place = torch.zeros_like(where), where
        step = 1
        for axis in reversed(range(window.axes)):
            width = padded.shape[2 + axis]
            position = position + (place % width - pads[axis]) * step
            place, step = place // width, step * size[axis]
        planes = torch.arange(x.shape[0] * x.shape[1], device=x.device) * step
        return y, position + planes.reshape(x.shape[0], x.shape[1], *[1] * window.axes)

    return run


@operator("AveragePool")
def _average_pool(call: Call) -> Function:
    window = _Window(call)
    function = getattr(functional, f"avg_pool{window.axes}d")
    counted = bool(call.attribute("count_include_pad", 0))
    kernel, stride = window.kernel, window.stride
    if any(step != 1 for step in window.dilation):
        raise call.refusal("dilation")
    if window.even:
        half = window.half
        return lambda x: function(x, kernel, stride, half, count_include_pad=counted)

    def run(x: Tensor) -> Tensor:
        pads = outer_pads(window.pads(x.shape[2:]))
        y = function(functional.pad(x, pads), kernel, stride)
        if counted and not window.ceil:
            return y
        ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
        if counted:  # what was asked for counts, what rounding up added does not
            asked = outer_pads(pads_of(call, x.shape[2:], kernel, stride, window.dilation))
            ones = functional.pad(ones, asked, value=1.0)
            rest = [have - had for have, had in zip(pads, asked, strict=True)]
            return y / function(functional.pad(ones, rest), kernel, stride)
        return y / function(functional.pad(ones, pads), kernel, stride)

    return run


@operator("GlobalAveragePool")
def _global_average(_: Call) -> Function:
    return lambda x: x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def _global_max(_: Call) -> Function:
    # By positions: of equal maxima only the first gets the gradient.
    def run(x: Tensor) -> Tensor:
        return x.flatten(2).max(2).values.reshape(*x.shape[:2], *[1] * (x.dim() - 2))

    return run
