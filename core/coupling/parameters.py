"""Values computed from parameters alone: their labels are followed backwards to stored parameters.

A rule says how labels lie on the parameter it reads (:meth:`.trace.Trace.use`). If the parameter
is computed (a softmax of stored factors, a transposed weight), each node between it and the stored
parameters says how the labels of its output lie on its inputs. Labels that a node cannot pass on
are fixed.

An array of labels has the rank of its value and size 1 along the axes on which it does not depend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from .indices import LabelVector
from .reasons import Kind, Reason
from .rules.attributes import constant_input, int_attribute, ints_attribute
from .rules.elementwise import ELEMENTWISE, OPERAND_ROLES
from .rules.identity import UNARY
from .rules.normalization import REDUCTIONS, normalized_axes, reduced_axes
from .trace import Trace, static_shape

__all__ = ["resolve"]

Arrays = tuple[LabelVector, ...]
Step = Sequence[tuple[ir.Value, str, Arrays]]
"""Inputs of a node with their roles and labels."""

KEEPS_ZERO = frozenset({
    "Abs", "Cast", "CastLike", "Concat", "Div", "Expand", "Flatten", "Gather", "Identity", "Mul",
    "Neg", "Relu", "Reshape", "Round", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Tanh", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that map zero to zero. A weight computed by any other could not be masked: zeros in the
stored parameter would not become zeros in the weight."""


class _LostError(Exception):
    """It is not known where the labels of a node's output lie on its inputs."""


def resolve(state: Trace) -> None:
    """Replace the statements about computed parameters by statements about stored ones."""
    stored: dict[str, str] = {}
    for origin, first_role, first_labels in state.computed:
        waiting = [(origin, first_role, first_labels)]
        while waiting:
            value, role, labels = waiting.pop()
            if str(value.name) not in state.constants:
                state.use(value, role, *labels)
                if role == "weight" and np.prod(_shape(value)) == np.prod(_shape(origin)):
                    stored[str(origin.name)] = str(value.name)
                continue
            node = value.producer()
            assert node is not None
            try:
                waiting.extend(_step(state, node, value, role, labels))
            except _LostError:
                for array in labels:
                    state.fix(array, Reason(Kind.OPERATOR, state.subject(node)))
    state.cost_terms = [
        replace(cost_term, weight=stored.get(cost_term.weight, cost_term.weight))
        for cost_term in state.cost_terms
        if cost_term.weight in stored or cost_term.weight not in state.constants
    ]
    _fix_outputs(state)


def _step(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    """Return the inputs of a node that have labels, given the labels of its output."""
    inverse = _INVERSES.get(node.op_type)
    if inverse is None or node.domain or static_shape(value) is None:
        raise _LostError
    if role == "weight" and node.op_type not in KEEPS_ZERO:
        raise _LostError
    found = []
    for source, own_role, arrays in inverse(state, node, value, role, labels):
        kept = tuple(array for array in arrays if array.size > 1 or role == "weight")
        axes = [axis for array in kept for axis, size in enumerate(array.shape) if size > 1]
        if len(set(axes)) < len(axes):
            raise _LostError
        if axes:
            found.append((source, own_role, kept))
    return found


def _fix_outputs(state: Trace) -> None:
    """Fix the labels of the parameters that an output is computed from alone."""
    for output in state.network.graph.outputs:
        waiting: list[ir.Value | None] = [output] if state.is_parameter(output) else []
        while waiting:
            value = waiting.pop()
            if value is None:
                continue
            use = state.uses.get(str(value.name))
            for labels in use.labels if use is not None else ():
                state.fix(labels, Reason(Kind.OUTPUT, str(output.name)))
            producer = value.producer()
            waiting.extend(producer.inputs if producer is not None else ())


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    shape = static_shape(value) if value is not None else None
    if shape is None:
        raise _LostError
    return shape


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _axis_of(array: LabelVector) -> int | None:
    """Return the one axis along which labels vary; None where they do not vary.

    Raises:
        _LostError: they vary along several axes.
    """
    axes = [axis for axis, size in enumerate(array.shape) if size > 1]
    if len(axes) > 1:
        raise _LostError
    return axes[0] if axes else None


def _same(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    del state, value
    return [(_first(node), role, labels)]


def _operands(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    """Return every operand, with the labels that lie along its own axes."""
    del state
    whole, rank = _shape(value), len(_shape(value))
    main = next((v for v in node.inputs if v is not None and _shape(v) == whole), None)
    if role == "weight" and (main is None or (node.op_type == "Div" and main is not _first(node))):
        raise _LostError
    found = []
    for source in node.inputs:
        assert source is not None
        if source is main:
            found.append((source, role, labels))
            continue
        shape = _shape(source)
        arrays = []
        for array in labels:
            axis = _axis_of(array)
            own = axis - (rank - len(shape)) if axis is not None else -1
            if own >= 0 and shape[own] > 1:
                arrays.append(array.reshape([-1 if k == own else 1 for k in range(len(shape))]))
        found.append((source, OPERAND_ROLES.get(node.op_type, "vector"), tuple(arrays)))
    return found


def _reduced(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    del state, value
    source = _first(node)
    axes = reduced_axes(node, len(_shape(source)))
    if axes is None:
        raise _LostError
    if int_attribute(node, "keepdims", 1):
        return [(source, role, labels)]
    spread = tuple(np.expand_dims(array, tuple(sorted(axes))) for array in labels)
    return [(source, role, spread)]


def _along_axis(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    """Return the labels of the output for the input, unless a normalised axis mixes them."""
    axes = normalized_axes(state, node, len(_shape(value)))
    if any(array.shape[axis] > 1 for axis in axes for array in labels):
        raise _LostError
    return [(_first(node), role, labels)]


def _transposed(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    del state
    order = ints_attribute(node, "perm") or tuple(reversed(range(len(_shape(value)))))
    inverse = np.argsort(order)
    return [(_first(node), role, tuple(array.transpose(inverse) for array in labels))]


def _reshaped(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    """Return the labels where they lay before the reshape; entries of the target count channels."""
    source, shape = _first(node), _shape(value)
    arrays = []
    for array in labels:
        axis = _axis_of(array)
        if node.op_type == "Reshape" and axis is not None:
            target = constant_input(node, 1)
            if target is None:
                raise _LostError
            if target[axis] > 0:
                state.size(node.inputs[1], axis, array.ravel())
        moved = np.broadcast_to(array, shape).reshape(_shape(source))
        found = state.aligned(moved, moved.shape)
        arrays.append(found.compact())
    return [(source, role, tuple(arrays))]


def _split(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    source = _first(node)
    axis = int_attribute(node, "axis", 0) % len(_shape(source))
    sizes = [_shape(output)[axis] for output in node.outputs]
    place = next(k for k, output in enumerate(node.outputs) if output is value)
    arrays = []
    for array in labels:
        if array.shape[axis] == 1:
            arrays.append(array)
            continue
        if _axis_of(array) != axis or constant_input(node, 1) is None:
            raise _LostError
        state.size(node.inputs[1], place, array.ravel())
        arrays.append(_part_of(state, array, axis, sum(sizes[:place]), sum(sizes)))
    return [(source, role, tuple(arrays))]


def _sliced(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    del value
    source = _first(node)
    shape = _shape(source)
    starts, ends = constant_input(node, 1), constant_input(node, 2)
    steps = constant_input(node, 4) or (1,) * len(starts or ())
    if starts is None or ends is None:
        raise _LostError
    axes = [axis % len(shape) for axis in constant_input(node, 3) or range(len(starts))]
    arrays = []
    for array in labels:
        axis = _axis_of(array)
        if axis is None or axis not in axes:
            arrays.append(array)
            continue
        entry = axes.index(axis)
        if steps[entry] != 1:
            raise _LostError
        start, end, _ = slice(starts[entry], ends[entry]).indices(shape[axis])
        whole = _part_of(state, array, axis, start, shape[axis])
        state.size(node.inputs[1], entry, whole.ravel()[:start])
        state.size(node.inputs[2], entry, whole.ravel()[:end])
        arrays.append(whole)
    return [(source, role, tuple(arrays))]


def _part_of(state: Trace, array: LabelVector, axis: int, start: int, size: int) -> LabelVector:
    """Return `size` labels along `axis`: those of `array` from `start` on, new ones elsewhere."""
    whole = state.unowned(size)
    whole[start : start + array.size] = array.ravel()
    return whole.reshape([-1 if k == axis else 1 for k in range(array.ndim)])


def _concatenated(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    del state
    axis = int_attribute(node, "axis", 0) % len(_shape(value))
    found, start = [], 0
    for source in node.inputs:
        end = start + _shape(source)[axis]
        arrays = tuple(
            array if array.shape[axis] == 1 else np.take(array, range(start, end), axis=axis)
            for array in labels
        )
        assert source is not None
        found.append((source, role, arrays))
        start = end
    return found


def _expanded(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    source = _first(node)
    shape, rank = _shape(source), len(_shape(value))
    target = constant_input(node, 1)
    if target is None:
        raise _LostError
    arrays = []
    for array in labels:
        axis = _axis_of(array)
        if axis is None:
            continue
        entry, own = axis - (rank - len(target)), axis - (rank - len(shape))
        if entry >= 0 and target[entry] > 1:
            state.size(node.inputs[1], entry, array.ravel())
        if own >= 0 and shape[own] > 1:
            arrays.append(array.reshape(array.shape[rank - len(shape) :]))
    return [(source, role, tuple(arrays))]


def _gathered(state: Trace, node: ir.Node, value: ir.Value, role: str, labels: Arrays) -> Step:
    """Return the labels of the output for the data, unless channels themselves were picked."""
    del state
    source = _first(node)
    rank = len(_shape(source))
    axis = int_attribute(node, "axis", 0) % rank
    picked = range(axis, axis + len(_shape(value)) - rank + 1)
    if any(array.shape[k] > 1 for array in labels for k in picked):
        raise _LostError
    arrays = tuple(
        np.expand_dims(array.squeeze(tuple(picked)) if picked else array, axis) for array in labels
    )
    return [(source, role, arrays)]


_Inverse = Callable[[Trace, ir.Node, ir.Value, str, Arrays], Step]

_INVERSES: Mapping[str, _Inverse] = {
    **dict.fromkeys(UNARY, _same),
    **dict.fromkeys(ELEMENTWISE, _operands),
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), _along_axis),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshaped),
    "Transpose": _transposed,
    "Split": _split,
    "Slice": _sliced,
    "Concat": _concatenated,
    "Expand": _expanded,
    "Gather": _gathered,
}
