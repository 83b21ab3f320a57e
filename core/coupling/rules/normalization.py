"""Normalisations and reductions: labels pass within channels and are fixed across channels."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Labels
from ..reasons import Kind
from ..trace import Trace, static_shape
from .attributes import constant_input, int_attribute, ints_attribute, output_shape
from .registry import rule
from .unknown import fixed_outputs

ONE_AXIS_OPSET = 13
"""The first opset whose Softmax normalises along one axis; earlier ones normalise along this axis
and all after it."""

INPUT_ROLES = ("scale", "shift", "mean", "variance")


@rule("BatchNormalization", "InstanceNormalization")
def per_channel(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels; scale, shift, mean and variance are vectors over them."""
    x = state.of(node, 0)
    if x.axis not in (1, None):
        return fixed_outputs(state, node, Kind.SPATIAL)
    if any(value is None or not state.is_parameter(value) for value in node.inputs[1:]):
        return fixed_outputs(state, node, Kind.OPERATOR)
    for value, role in zip(node.inputs[1:], INPUT_ROLES, strict=False):
        state.use(value, role, x.vector if x.axis == 1 else x.vector.repeat(x.shape[1]))
    return [Labels(output_shape(node), x.axis, x.vector)]


@rule(
    "Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "LayerNormalization",
    "RMSNormalization",
)  # fmt: skip
def across_axes(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels, unless the channel axis is among those that are normalised."""
    x = state.of(node, 0)
    if x.axis in normalized_axes(state, node, len(x.shape)):
        return fixed_outputs(state, node, Kind.MIXED)
    return [Labels(static_shape(v) or x.shape, x.axis, x.vector) for v in node.outputs]


def normalized_axes(state: Trace, node: ir.Node, rank: int) -> range:
    """Return the axes along which an operator makes values depend on each other."""
    old = state.opset < ONE_AXIS_OPSET and node.op_type in ("Softmax", "LogSoftmax", "Hardmax")
    axis = int_attribute(node, "axis", 1 if old else -1) % rank
    if old or node.op_type in ("LayerNormalization", "RMSNormalization"):
        return range(axis, rank)
    return range(axis, axis + 1)


@rule("LRN")
def across_neighbours(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Fix everything: each output channel depends on its neighbours.

    Where the user accepts other neighbours, the operator is written as a product with a window
    (:func:`~...ir.windows.loosened`).
    """
    return fixed_outputs(state, node, Kind.NEIGHBOURS)


@rule("GroupNormalization", "MeanVarianceNormalization", "CumSum")
def across_channels(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Fix everything: each output channel depends on others.

    MeanVarianceNormalization may normalise each channel on its own, but turns a masked one into
    NaN: it divides by the deviation, which is zero, and adds no epsilon.
    """
    return fixed_outputs(state, node, Kind.MIXED)


REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip


@rule(*REDUCTIONS)
def reduction(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels, unless the channel axis is reduced."""
    axes = reduced_axes(node, len(state.of(node, 0).shape))
    return _without(state, node, axes)


@rule("ArgMax", "ArgMin")
def position(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels, unless positions are counted along the channel axis."""
    return _without(state, node, {int_attribute(node, "axis", 0) % len(state.of(node, 0).shape)})


@rule("TopK")
def largest(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels for both outputs, unless it orders channels."""
    x = state.of(node, 0)
    if x.axis == int_attribute(node, "axis", -1) % len(x.shape):
        return fixed_outputs(state, node, Kind.MIXED)
    return [Labels(output_shape(node, k), x.axis, x.vector) for k in range(len(node.outputs))]


def _without(state: Trace, node: ir.Node, axes: set[int] | None) -> Sequence[Labels]:
    """Return the labels of a result without some axes, or with size 1 along them."""
    x, shape = state.of(node, 0), output_shape(node)
    if axes is None or x.axis in axes:
        return fixed_outputs(state, node, Kind.MIXED)
    if x.axis is None or int_attribute(node, "keepdims", 1):
        return [Labels(shape, x.axis, x.vector)]
    return [Labels(shape, x.axis - sum(axis < x.axis for axis in axes), x.vector)]


def reduced_axes(node: ir.Node, rank: int) -> set[int] | None:
    """Return the reduced axes; None where they are computed."""
    axes = constant_input(node, 1)
    if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        return None
    if axes is None:
        axes = ints_attribute(node, "axes")
    if not axes:
        return set() if int_attribute(node, "noop_with_empty_axes", 0) else set(range(rank))
    return {axis % rank for axis in axes}
