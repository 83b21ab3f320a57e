"""Operators that compute each channel from itself alone: labels pass through."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Labels
from ..reasons import Kind
from ..trace import Trace, fix_input, static_shape
from .attributes import constant_input, ints_attribute, output_shape
from .registry import rule
from .unknown import unknown

UNARY = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]


@rule(*UNARY)
def unary(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the input, for every output."""
    x = state.of(node, 0)
    return [Labels(x.shape, x.axis, x.vector) for _ in node.outputs]


@rule("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def pooling(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the input at the size of the output."""
    x = state.of(node, 0)
    if x.axis is not None and x.axis > 1:
        fix_input(state, node, 0, Kind.SPATIAL)
        x = Labels(x.shape, None, x.vector[:1])
    for positions in node.outputs[1:]:
        if not _within_plane(positions, x.shape[2:]):
            fix_input(state, node, 0, Kind.OPERATOR)
    return [Labels(static_shape(v) or x.shape, x.axis, x.vector) for v in node.outputs]


def _within_plane(positions: ir.Value, plane: Sequence[int]) -> bool:
    """Whether all readers of MaxPool's positions reduce them to positions inside a plane.

    The positions count over the whole tensor, so that removing a channel changes those behind it.
    """
    return not positions.is_graph_output() and all(
        _takes_remainder(use.node, math.prod(plane))
        or (use.node.op_type == "MaxUnpool" and output_shape(use.node)[2:] == tuple(plane))
        for use in positions.uses()
    )


def _takes_remainder(node: ir.Node, size: int) -> bool:
    divisor = constant_input(node, 1) if node.op_type == "Mod" else None
    return divisor is not None and len(divisor) == 1 and divisor[0] > 0 and size % divisor[0] == 0


@rule("MaxRoiPool", "RoiAlign")
def regions(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the map; fix those of the inputs that hold the regions."""
    x = state.of(node, 0)
    for index in range(1, len(node.inputs)):
        fix_input(state, node, index, Kind.OPERATOR)
    if x.axis not in (1, None):
        return unknown(state, node)
    return [Labels(output_shape(node), x.axis, x.vector)]


@rule("Resize", "Upsample")
def resize(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the labels of the input; a target size counts the channels."""
    x, shape = state.of(node, 0), output_shape(node)
    if x.axis is not None and shape[x.axis] != x.shape[x.axis]:
        fix_input(state, node, 0, Kind.SPATIAL)
        return [Labels(shape, None, x.vector[:1])]
    if len(node.inputs) > 3 and node.inputs[3] is not None and constant_input(node, 3) is None:
        return unknown(state, node)
    axes = ints_attribute(node, "axes") or tuple(range(len(x.shape)))
    if len(node.inputs) > 3 and x.axis in axes and constant_input(node, 3) is not None:
        state.size(node.inputs[3], axes.index(x.axis), x.vector)
    return [Labels(shape, x.axis, x.vector)]
