"""Element-wise operators on several inputs: channels that meet at a position are united.

This covers residual sums, squeeze-and-excite products, slopes and learned scales: computed operands
unite their labels, and parameters become vectors over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from ..indices import LabelVector
from ..labels import Labels
from ..reasons import Kind
from ..trace import Trace, fix_input, static_shape
from .attributes import output_shape
from .registry import rule
from .unknown import fixed_outputs

OPERAND_ROLES = {"Add": "bias", "Sub": "bias", "Sum": "bias", "Mul": "scale", "Div": "divisor",
                 "Pow": "divisor", "Mod": "divisor"}  # fmt: skip
"""Operator → role of its parameters; "vector" for the other operators."""

ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "Max", "Min", "Sum", "Mean", "Where",
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor",
)  # fmt: skip


@rule(*ELEMENTWISE, any_operand=True, elementwise=True)
def elementwise(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the united labels of all operands."""
    return united(state, node, output_shape(node))


def united(state: Trace, node: ir.Node, shape: Sequence[int]) -> Sequence[Labels]:
    """Unite the labels of all operands and return them for an output of `shape`."""
    operands = {
        index: labels
        for index in range(len(node.inputs))
        if (labels := state.known(node, index)) is not None
    }
    axes = {axis for labels in operands.values() if (axis := _axis(labels, shape)) is not None}
    if len(axes) > 1 or not operands:
        return fixed_outputs(state, node, Kind.SPATIAL)
    if not axes and _spreads(state, node, operands.values(), shape):
        for index in operands:
            fix_input(state, node, index, Kind.BROADCAST)
        own = state.unowned(shape[1])
        _parameters(state, node, own, 1, len(shape))
        return [Labels(tuple(shape), 1, own)]
    if not axes:
        first, *others = operands.values()
        for other in others:
            state.unions.unite(first.vector[:1], other.vector[:1])
        return [Labels(tuple(shape), None, first.vector[:1])]
    (axis,) = axes
    vector = next(x.vector for x in operands.values() if _axis(x, shape) == axis)
    for index, labels in operands.items():
        if _axis(labels, shape) == axis:
            state.unions.unite(vector, labels.vector)
        elif _size(labels.shape, axis, len(shape)) == 1:
            fix_input(state, node, index, Kind.BROADCAST)
        else:
            state.unions.unite(vector, labels.vector[:1])
    _parameters(state, node, vector, axis, len(shape))
    return [Labels(tuple(shape), axis, vector)]


def _parameters(state: Trace, node: ir.Node, vector: LabelVector, axis: int, rank: int) -> None:
    """State how the parameters among the operands lie along the channel axis."""
    for value in node.inputs:
        if value is None or not state.is_parameter(value):
            continue
        shape = static_shape(value) or ()
        own = axis - (rank - len(shape))
        if own >= 0 and shape[own] == len(vector) and len(vector) > 1:
            spread = vector.reshape([-1 if k == own else 1 for k in range(len(shape))])
            state.use(value, OPERAND_ROLES.get(node.op_type, "vector"), spread)


def _spreads(state: Trace, node: ir.Node, operands: Iterable[Labels], shape: Sequence[int]) -> bool:
    """Whether operands of one map meet a parameter with channels, each of which can be removed."""
    rank = len(shape)
    if rank < 2 or any(_size(labels.shape, 1, rank) != 1 for labels in operands):
        return False
    return shape[1] > 1 and any(
        state.is_parameter(value) and _size(static_shape(value) or (), 1, rank) == shape[1]
        for value in node.inputs
        if value is not None
    )


def _axis(labels: Labels, shape: Sequence[int]) -> int | None:
    """Return the channel axis of an operand as an axis of the result; None if it has none."""
    if labels.axis is None:
        return None
    axis = labels.axis + len(shape) - len(labels.shape)
    return axis if labels.shape[labels.axis] == shape[axis] else None


def _size(shape: Sequence[int], axis: int, rank: int) -> int:
    own = axis - (rank - len(shape))
    return shape[own] if own >= 0 else 1
