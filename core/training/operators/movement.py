"""Operators that move, cut and join. Source: onnx.ai/onnx/operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..framework import functional, torch
from .matrix import outer_pads
from .registry import Call, Function, operator

if TYPE_CHECKING:
    from torch import Tensor


@operator("Reshape", side=(1,))
def _reshape(call: Call) -> Function:
    shape, literal = call.integers(1), bool(call.attribute("allowzero", 0))

    def run(*inputs: Tensor) -> Tensor:
        x, target = inputs[0], shape(inputs) or []
        if not literal:
            target = [x.shape[axis] if dim == 0 else dim for axis, dim in enumerate(target)]
        return x.reshape(target)

    return run


@operator("Flatten")
def _flatten(call: Call) -> Function:
    axis = call.attribute("axis", 1)

    def run(x: Tensor) -> Tensor:
        rows = math.prod(x.shape[: axis if axis >= 0 else axis + x.dim()])
        return x.reshape(rows, -1)

    return run


@operator("Transpose")
def _transpose(call: Call) -> Function:
    order = call.attribute("perm")
    return lambda x: x.permute(order if order is not None else list(range(x.dim()))[::-1])


@operator("Concat")
def _concat(call: Call) -> Function:
    axis = call.attribute("axis")
    return lambda *inputs: torch.cat(inputs, axis)


@operator("Split", side=(1,))
def _split(call: Call) -> Function:
    axis, sizes = call.attribute("axis", 0), call.integers(1, "split")
    count = len(call.node.outputs)

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        x, parts = inputs[0], sizes(inputs)
        each = parts if parts is not None else -(-x.shape[axis] // count)
        return torch.split(x, each, axis)

    return run


@operator("Slice", side=(1, 2, 3, 4))
def _slice(call: Call) -> Function:
    starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
    axes, steps = call.integers(3, "axes"), call.integers(4)

    def run(*inputs: Tensor) -> Tensor:
        x, first, last = inputs[0], starts(inputs) or [], ends(inputs) or []
        where = axes(inputs) or list(range(len(first)))
        by = steps(inputs) or [1] * len(first)
        for axis, start, end, step in zip(where, first, last, by, strict=True):
            chosen = range(x.shape[axis])[start:end:step]
            if step > 0:
                x = x[(slice(None),) * (axis % x.dim()) + (slice(start, end, step),)]
            else:
                x = x.index_select(axis, torch.tensor(list(chosen), device=x.device))
        return x

    return run


@operator("Squeeze", side=(1,))
def _squeeze(call: Call) -> Function:
    axes = call.integers(1, "axes")

    def run(*inputs: Tensor) -> Tensor:
        x, gone = inputs[0], axes(inputs)
        if gone is None:
            return x.squeeze()
        taken = {axis % x.dim() for axis in gone}
        return x.reshape([dim for axis, dim in enumerate(x.shape) if axis not in taken])

    return run


@operator("Unsqueeze", side=(1,))
def _unsqueeze(call: Call) -> Function:
    axes = call.integers(1, "axes")

    def run(*inputs: Tensor) -> Tensor:
        x, new = inputs[0], axes(inputs) or []
        rank = x.dim() + len(new)
        for axis in sorted(axis % rank for axis in new):
            x = x.unsqueeze(axis)
        return x

    return run


@operator("Expand", side=(1,))
def _expand(call: Call) -> Function:
    shape = call.integers(1)

    def run(*inputs: Tensor) -> Tensor:
        x, target = inputs[0], shape(inputs) or []
        return x.expand(torch.broadcast_shapes(x.shape, tuple(target)))

    return run


@operator("Tile", side=(1,))
def _tile(call: Call) -> Function:
    times = call.integers(1)
    return lambda *inputs: inputs[0].repeat(times(inputs) or [])


@operator("Pad", side=(1, 2, 3))
def _pad(call: Call) -> Function:
    pads, axes = call.integers(1, "pads"), call.integers(3)
    word = call.attribute("mode", "constant")
    if word not in ("constant", "reflect", "edge"):
        raise call.refusal(f"mode {word}")
    how = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[word]
    old = call.attribute("value", 0.0)

    def run(*inputs: Tensor) -> Tensor:
        x, given, chosen = inputs[0], pads(inputs) or [], axes(inputs)
        if chosen is not None:
            full, half = [0] * (2 * x.dim()), len(given) // 2
            for place, axis in enumerate(chosen):
                full[axis % x.dim()] = given[place]
                full[axis % x.dim() + x.dim()] = given[place + half]
            given = full
        flat = outer_pads(given)
        if how == "constant":
            value = inputs[2] if len(inputs) > 2 and inputs[2] is not None else None
            return functional.pad(x, flat, value=old if value is None else float(value))
        used = max(k for k in range(len(flat)) if flat[k] or k < 2) // 2 * 2 + 2
        return functional.pad(x, flat[:used], mode=how)

    return run


@operator("Gather", side=(1,))
def _gather(call: Call) -> Function:
    axis = call.attribute("axis", 0)

    def run(x: Tensor, where: Tensor) -> Tensor:
        where = torch.where(where < 0, where + x.shape[axis], where).long()
        before = x.shape[: axis % x.dim()]
        after = x.shape[axis % x.dim() + 1 :]
        return x.index_select(axis, where.reshape(-1)).reshape((*before, *where.shape, *after))

    return run


@operator("GatherElements", side=(1,))
def _gather_elements(call: Call) -> Function:
    axis = call.attribute("axis", 0)

    def run(x: Tensor, where: Tensor) -> Tensor:
        where = torch.where(where < 0, where + x.shape[axis], where)
        return torch.gather(x, axis, where.long())

    return run


@operator("GatherND", side=(1,))
def _gather_nd(call: Call) -> Function:
    if call.attribute("batch_dims", 0):
        raise call.refusal("batch_dims")
    return lambda x, where: x[tuple(where.long().unbind(-1))]


@operator("ScatterElements", side=(1,))
def _scatter_elements(call: Call) -> Function:
    axis, word = call.attribute("axis", 0), call.attribute("reduction", "none")
    if word not in ("none", "add"):
        raise call.refusal(f"reduction {word}")

    def run(x: Tensor, where: Tensor, updates: Tensor) -> Tensor:
        where = torch.where(where < 0, where + x.shape[axis], where).long()
        function = torch.scatter if word == "none" else torch.scatter_add
        return function(x, axis, where, updates)

    return run


@operator("ScatterND", side=(1,))
def _scatter_nd(call: Call) -> Function:
    word = call.attribute("reduction", "none")
    if word not in ("none", "add"):
        raise call.refusal(f"reduction {word}")

    def run(x: Tensor, where: Tensor, updates: Tensor) -> Tensor:
        return x.index_put(tuple(where.long().unbind(-1)), updates, accumulate=word == "add")

    return run


@operator("DepthToSpace")
def _depth_to_space(call: Call) -> Function:
    block, column_first = call.attribute("blocksize"), call.attribute("mode", "DCR") == "CRD"

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        each = c // block**2
        if column_first:
            parts = x.reshape(n, each, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
        else:
            parts = x.reshape(n, block, block, each, h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, each, h * block, w * block)

    return run


@operator("SpaceToDepth")
def _space_to_depth(call: Call) -> Function:
    block = call.attribute("blocksize")

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(n, c * block**2, h // block, w // block)

    return run


@operator("Shape", cut=(0,))
def _shape(call: Call) -> Function:
    start, end = call.attribute("start", 0), call.attribute("end")
    return lambda x: torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


@operator("Size", cut=(0,))
def _size(_: Call) -> Function:
    return lambda x: torch.tensor(x.numel(), dtype=torch.int64)


@operator("ConstantOfShape", side=(0,))
def _constant_of_shape(call: Call) -> Function:
    tensor = call.attribute("value")
    filling = torch.from_numpy(np.array(tensor.numpy())) if tensor is not None else torch.zeros(1)
    shape = call.integers(0)
    return lambda *inputs: filling.reshape(()).expand(shape(inputs) or [])


@operator("Range", cut=(0,))
def _range(_: Call) -> Function:
    def run(start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
        return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)

    return run
