"""Pure movement of data within one tensor, executed on the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..labels import Labels
from ..reasons import Kind
from ..trace import Trace, fix_input
from .attributes import constant_input, given_sizes, int_attribute, ints_attribute, output_shape
from .registry import rule
from .unknown import fixed_outputs, unknown


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels in their new places; entries of the target count channels."""
    x, shape = state.of(node, 0), output_shape(node)
    size = math.prod(x.shape)
    if math.prod(shape) != size:
        unknown_sizes = [k for k, d in enumerate(node.outputs[0].shape or ()) if _symbolic(d)]
        if len(unknown_sizes) < 1 or size % math.prod(shape):
            return unknown(state, node)
        shape = tuple(
            size // math.prod(shape) if k == unknown_sizes[-1] else d for k, d in enumerate(shape)
        )
    moved = state.aligned(x.array().reshape(shape), shape)
    if node.op_type == "Reshape" and constant_input(node, 1) is None:
        return unknown(state, node)
    dims, before = node.outputs[0].shape, node.inputs[0].shape if node.inputs[0] else None
    uncounted = before is None or any(_symbolic(dim) for dim in list(before)[1:])
    if uncounted and moved.axis is not None and dims is not None and _symbolic(dims[moved.axis]):
        return unknown(state, node)  # the number of positions of a channel there is not known
    if node.op_type == "Reshape":
        for entry, target in enumerate(constant_input(node, 1) or ()):
            if target > 0:
                state.size(node.inputs[1], entry, moved.along(entry))
    return [moved]


def _symbolic(dim: object) -> bool:
    return not isinstance(dim, int)


@rule("Transpose")
def transpose(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels with the channel axis in its new place."""
    x = state.of(node, 0)
    order = ints_attribute(node, "perm") or tuple(reversed(range(len(x.shape))))
    axis = order.index(x.axis) if x.axis is not None else None
    return [Labels(tuple(x.shape[k] for k in order), axis, x.vector)]


@rule("Expand")
def expand(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the broadcast value; entries of the target count channels."""
    x, shape = state.of(node, 0), output_shape(node)
    target = constant_input(node, 1)
    if target is None:
        return unknown(state, node)
    if x.axis is None or x.shape[x.axis] == 1:
        return [_copies(state, node, x, shape, len(shape) - len(target))]
    axis = x.axis + len(shape) - len(x.shape)
    if shape[axis] != x.shape[x.axis]:
        return fixed_outputs(state, node, Kind.BROADCAST)
    entry = axis - (len(shape) - len(target))
    if 0 <= entry < len(target) and target[entry] != 1:
        state.size(node.inputs[1], entry, x.vector)
    return [Labels(shape, axis, x.vector)]


@rule("Tile")
def tile(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels, repeated along the channel axis where that is repeated."""
    x, repeats = state.of(node, 0), constant_input(node, 1)
    if repeats is None:
        return unknown(state, node)
    if x.axis is None or x.shape[x.axis] == 1:
        return [_copies(state, node, x, output_shape(node), 0)]
    return [Labels(output_shape(node), x.axis, np.tile(x.vector, repeats[x.axis]))]


def _copies(
    state: Trace, node: ir.Node, x: Labels, shape: tuple[int, ...], outer: int
) -> Labels:  # fmt: skip
    """Return labels for copies of one map: each can be removed, as the copies are equal.

    Entry k of the second input counts the copies along axis `outer` + k of the output.
    """
    missing = len(shape) - len(x.shape)
    if len(shape) < 2 or shape[1] == 1 or (missing < 2 and x.shape[1 - missing] != 1):
        return Labels(shape, None, x.vector[:1])
    fix_input(state, node, 0, Kind.BROADCAST)
    copies = state.unowned(shape[1])
    if outer < 2:
        state.size(node.inputs[1], 1 - outer, copies)
    return Labels(shape, 1, copies)


@rule("Pad")
def pad(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels; padding along the channel axis fixes them."""
    x, pads = state.of(node, 0), given_sizes(node, 1, "pads")
    if pads is None:
        return unknown(state, node)
    axes = [axis % len(x.shape) for axis in constant_input(node, 3) or range(len(x.shape))]
    padded = {
        axis
        for k, axis in enumerate(axes)
        if pads[k] != 0 or pads[k + len(axes)] != 0
    }  # fmt: skip
    if x.axis in padded:
        return fixed_outputs(state, node, Kind.SPATIAL)
    return [Labels(output_shape(node), x.axis, x.vector)]


@rule("SpaceToDepth", "DepthToSpace")
def blocks(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels moved between channels and positions in blocks."""
    x, shape = state.of(node, 0), output_shape(node)
    size = int_attribute(node, "blocksize", 1)
    _, channels, height, width = x.shape
    array = x.array()[0]
    if node.op_type == "SpaceToDepth":
        split = array.reshape(channels, height // size, size, width // size, size)
        moved = split.transpose(2, 4, 0, 1, 3)
    else:
        mode = node.attributes.get("mode")
        column_first = mode is not None and mode.as_string() == "CRD"
        deep = channels // size**2
        if column_first:
            split = array.reshape(deep, size, size, height, width)
            moved = split.transpose(0, 3, 1, 4, 2)
        else:
            split = array.reshape(size, size, deep, height, width)
            moved = split.transpose(2, 3, 0, 4, 1)
    return [state.aligned(moved.reshape(1, *shape[1:]), shape)]
