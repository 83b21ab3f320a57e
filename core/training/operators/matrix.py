"""Convolutions and products of matrices. Source: onnx.ai/onnx/operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..framework import functional, torch
from .registry import Call, Function, operator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["outer_pads"]


def outer_pads(pads: Sequence[int]) -> list[int]:
    """Return ONNX's pads (all begins, then all ends) as PyTorch's `pad` takes them."""
    half = len(pads) // 2
    return [pads[place] for axis in reversed(range(half)) for place in (axis, axis + half)]


def pads_of(call: Call, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
            dilation: Sequence[int]) -> list[int]:  # fmt: skip
    """Return the padding of a convolution or pooling for a map of a size, begins before ends."""
    word = call.attribute("auto_pad", "NOTSET")
    axes = len(kernel)
    if word == "NOTSET":
        return list(call.attribute("pads", [0] * (2 * axes)))
    begins, ends = [], []
    for i, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        needed = 0 if word == "VALID" else max(0, (-(-i // s) - 1) * s + d * (k - 1) + 1 - i)
        less, more = needed // 2, needed - needed // 2
        begins.append(less if word == "SAME_UPPER" else more)
        ends.append(more if word == "SAME_UPPER" else less)
    return [*begins, *ends]


@operator("Conv")
def _conv(call: Call) -> Function:
    axes = call.rank(0) - 2
    if axes not in (1, 2, 3):
        raise call.refusal(f"{axes} spatial axes")
    function = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[axes]
    stride = tuple(call.attribute("strides", [1] * axes))
    dilation = tuple(call.attribute("dilations", [1] * axes))
    group = call.attribute("group", 1)
    pads = call.attribute("pads", [0] * (2 * axes))
    same = call.attribute("auto_pad", "NOTSET") == "NOTSET" and pads[:axes] == pads[axes:]
    padding = tuple(pads[:axes])

    def even(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return function(x, weight, bias, stride, padding, dilation, group)

    def uneven(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        found = pads_of(call, x.shape[2:], weight.shape[2:], stride, dilation)
        return function(
            functional.pad(x, outer_pads(found)), weight, bias, stride, 0, dilation, group
        )

    return even if same else uneven


@operator("ConvTranspose")
def _conv_transpose(call: Call) -> Function:
    axes = call.rank(0) - 2
    functions = {1: "conv_transpose1d", 2: "conv_transpose2d", 3: "conv_transpose3d"}
    if axes not in functions:
        raise call.refusal(f"{axes} spatial axes")
    if call.attribute("auto_pad", "NOTSET") != "NOTSET" or call.attribute("output_shape"):
        raise call.refusal("auto_pad or output_shape")
    function = getattr(functional, functions[axes])
    stride = call.attribute("strides", [1] * axes)
    dilation = call.attribute("dilations", [1] * axes)
    extra = call.attribute("output_padding", [0] * axes)
    pads = call.attribute("pads", [0] * (2 * axes))
    group = call.attribute("group", 1)
    if pads[:axes] == pads[axes:] and all(
        e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)
    ):
        return lambda x, weight, bias=None: function(
            x, weight, bias, stride, pads[:axes], extra, group, dilation
        )

    def cut(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        y = function(x, weight, None, stride, 0, 0, group, dilation)
        trims = [-pad for pad in pads]
        for axis, more in enumerate(extra):
            trims[axes + axis] += more
        y = functional.pad(y, outer_pads(trims))
        return y if bias is None else y + bias.reshape(-1, *[1] * axes)

    return cut


@operator("Gemm")
def _gemm(call: Call) -> Function:
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    first, second = call.attribute("transA", 0), call.attribute("transB", 0)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a = a.t() if first else a
        if alpha == beta == 1 and (c is None or c.dim() == 1):
            return functional.linear(a, b if second else b.t(), c)
        y = alpha * (a @ (b.t() if second else b))
        return y if c is None else y + beta * c

    return run


@operator("MatMul")
def _matmul(_: Call) -> Function:
    return torch.matmul


@operator("Einsum")
def _einsum(call: Call) -> Function:
    equation = call.attribute("equation")
    return lambda *inputs: torch.einsum(equation, *inputs)
