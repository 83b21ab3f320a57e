"""Normalisations: per channel they carry vectors along; across channels they mix and fix."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Labels
from ..reasons import Kind
from ..trace import Trace
from .attributes import constant_input, int_attribute, ints_attribute, output_shape
from .registry import rule
from .unknown import fixed_outputs

ROLES = ("scale", "shift", "mean", "variance")


@rule("BatchNormalization", "InstanceNormalization")
def per_channel(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels; scale, shift, mean and variance are vectors over them."""
    x = state.of(node, 0)
    if x.axis not in (1, None):
        return fixed_outputs(state, node, Kind.SPATIAL)
    for value, role in zip(node.inputs[1:], ROLES, strict=False):
        state.use(value, role, x.vector if x.axis == 1 else x.vector.repeat(x.shape[1]))
    return [Labels(output_shape(node), x.axis, x.vector)]


@rule("Softmax", "LogSoftmax", "Hardmax")
def across_axis(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the input's labels, unless the axis that is normalised is the channel axis."""
    x = state.of(node, 0)
    axis = int_attribute(node, "axis", -1) % len(x.shape)
    if axis == x.axis:
        return fixed_outputs(state, node, Kind.MIXED)
    return [x]


@rule("LRN", "LpNormalization", "MeanVarianceNormalization", "CumSum")
def across_channels(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Fix everything: each output channel depends on its neighbours."""
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


def _without(state: Trace, node: ir.Node, axes: set[int] | None) -> Sequence[Labels]:
    """Return the labels of a result that has lost some axes, or has size 1 there."""
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
