"""Joining and cutting tensors: concatenation, split, slice, gather."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..labels import Labels
from ..reasons import Kind, Reason
from ..trace import INDEX, Trace, fix_input, static_shape
from .attributes import constant_input, given_sizes, int_attribute, output_shape
from .registry import rule
from .unknown import unknown


@rule("Concat", any_operand=True)
def concat(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of all inputs one after another."""
    shape = output_shape(node)
    axis = int_attribute(node, "axis", 1) % len(shape)
    parts = [_part(state, node, index).compact(full=(axis,)) for index in range(len(node.inputs))]
    common = [max(part.shape[k] for part in parts) for k in range(len(shape))]
    spread = [
        np.broadcast_to(part, [part.shape[k] if k == axis else d for k, d in enumerate(common)])
        for part in parts
    ]
    return [state.aligned(np.concatenate(spread, axis=axis), shape)]


def _part(state: Trace, node: ir.Node, index: int) -> Labels:
    """Return the labels of an input; a constant one gets a single label, which is fixed."""
    labels = state.known(node, index)
    if labels is not None:
        return labels
    value = node.inputs[index]
    assert value is not None
    reason = Reason(Kind.OPERATOR, state.subject(node))
    state.whole.setdefault(str(value.name), reason)
    return Labels(static_shape(value) or (), None, state.anonymous(reason))


@rule("Split")
def split(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the parts of the labels; the parts of a split without sizes must stay equal."""
    x = state.of(node, 0)
    shapes = [output_shape(node, k) for k in range(len(node.outputs))]
    axis = int_attribute(node, "axis", 0) % len(x.shape)
    if x.axis != axis:
        return [Labels(shape, x.axis, x.vector) for shape in shapes]
    sizes = [shape[axis] for shape in shapes]
    parts = np.split(x.vector, np.cumsum(sizes)[:-1])
    if given_sizes(node, 1, "split") is not None:
        for entry, part in enumerate(parts):
            state.given(node, 1, "split", entry, part)
            state.nonempty.append(part)
    elif len(set(sizes)) == 1:
        state.balance(np.stack(parts), node)
        state.nonempty.extend(parts)
    else:
        fix_input(state, node, 0, Kind.BALANCE)
    return [Labels(shape, axis, part) for shape, part in zip(shapes, parts, strict=True)]


@rule("Slice")
def slice_(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the part; its ends count the channels before them."""
    x, shape = state.of(node, 0), output_shape(node)
    starts, ends = given_sizes(node, 1, "starts"), given_sizes(node, 2, "ends")
    if starts is None or ends is None:
        return unknown(state, node)
    axes = [axis % len(x.shape) for axis in given_sizes(node, 3, "axes") or range(len(starts))]
    if x.axis is None or x.axis not in axes:
        return [Labels(shape, x.axis, x.vector)]
    entry = axes.index(x.axis)
    steps = constant_input(node, 4)
    if steps is not None and (starts[entry], steps[entry]) == (-1, -1) and ends[entry] < -(2**30):
        return [Labels(shape, x.axis, x.vector[::-1])]  # all channels in reverse order
    if steps is not None and steps[entry] != 1:
        return unknown(state, node)
    start, end, _ = slice(starts[entry], ends[entry]).indices(len(x.vector))
    part = x.vector[start:end]
    state.given(node, 1, "starts", entry, x.vector[:start])
    state.given(node, 2, "ends", entry, x.vector[:end])
    state.nonempty.append(part)
    return [Labels(shape, x.axis, part)]


@rule("Gather")
def gather(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels; where constant numbers pick channels, those of the channels picked."""
    x, shape = state.of(node, 0), output_shape(node)
    axis = int_attribute(node, "axis", 0) % len(x.shape)
    if x.axis == axis:
        return _picked(state, node, x, shape)
    if x.axis is None or x.axis < axis:
        return [Labels(shape, x.axis, x.vector)]
    return [Labels(shape, x.axis + len(shape) - len(x.shape), x.vector)]


def _picked(state: Trace, node: ir.Node, x: Labels, shape: tuple[int, ...]) -> Sequence[Labels]:
    """Return the labels of picked channels; each number counts the channels before its own."""
    numbers = node.inputs[1]
    rank = len(numbers.shape) if numbers is not None and numbers.shape is not None else 0
    picked = constant_input(node, 1)
    if not picked or rank != 1 or min(picked) < 0:
        return unknown(state, node)
    part = x.vector[list(picked)]
    for entry, place in enumerate(picked):
        state.size(numbers, entry, x.vector[:place])
    state.use(numbers, INDEX, part)
    state.nonempty.append(part)
    return [Labels(shape, x.axis, part)]
