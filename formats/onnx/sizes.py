"""Sizes that a graph computes from shapes (Shape → Gather → Concat → Reshape), made constants.

Exporters write such nodes for a symbolic batch. The sizes are evaluated as far as shapes are known.
In a target of a Reshape, an unknown size becomes −1, and a symbolic size that is that of the input
becomes 0. Pruning then changes the target like any other constant.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError
from ...core.ir.shapes import infer_node
from .constants import add_initializer, drop_unused

__all__ = ["work_out_sizes"]

Sizes = np.ndarray
"""An array of objects: numbers, names of symbolic sizes, and None for unknown sizes."""

LARGEST = 64
"""Largest number of elements of an array that counts as sizes."""

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Max": max,
    "Min": min,
    "Equal": operator.eq,
}

_SINGLE: Mapping[str, Callable[[Any], Any]] = {
    "Ceil": math.ceil,
    "Floor": math.floor,
    "Neg": operator.neg,
}


def work_out_sizes(graph: ir.Graph, opset: int) -> None:
    """Replace computed sizes by constants, and infer the shapes behind them; changes the graph."""
    known: dict[ir.Value, Sizes] = {}
    for node in list(graph):
        if node.domain != "":
            continue
        sizes = _evaluated(node, known)
        if sizes is not None and sizes.size <= LARGEST:
            known[node.outputs[0]] = sizes
        for index, value in enumerate(node.inputs):
            if value in known and (constant := _constant(node, index, known[value])) is not None:
                name = f"{value.name}/known/{node.outputs[0].name}"
                node.replace_input_with(index, add_initializer(graph, name, constant))
        if not all(_static(value) for value in node.outputs) and not _has_graph(node):
            try:
                infer_node(node, opset)
            except FormatError:
                continue  # the model passed ONNX's check: only these sizes stay unknown
    _remove_unused(graph, known)


def _constant(node: ir.Node, index: int, sizes: Sizes) -> np.ndarray | None:
    """Return the constant that replaces an input of a node; None if it must stay computed."""
    value = node.inputs[index]
    assert value is not None
    dtype = (value.dtype or ir.DataType.INT64).numpy()
    if all(_number(size) for size in sizes.ravel().tolist()):
        return sizes.astype(dtype)
    if node.op_type != "Reshape" or index != 1 or sizes.ndim != 1 or _int(node, "allowzero", 0):
        return None
    x = node.inputs[0]
    before = list(x.shape) if x is not None and x.shape is not None else []
    target = [
        0 if isinstance(size, str) and place < len(before) and _name(before[place]) == size
        else size
        for place, size in enumerate(sizes.tolist())
    ]  # fmt: skip
    is_open = [place for place, size in enumerate(target) if not isinstance(size, int)]
    if len(is_open) > 1 or (is_open and -1 in target):
        return None
    for place in is_open:
        target[place] = -1
    return np.array(target, dtype=dtype)


def _evaluated(node: ir.Node, known: Mapping[ir.Value, Sizes]) -> Sizes | None:
    """Return the sizes that a node computes; None if they are unknown, or if it computes no sizes.

    Args:
        node: the node.
        known: the sizes of earlier values.
    """
    if node.op_type == "Shape":
        x = node.inputs[0]
        if x is None or x.shape is None:
            return None
        dims = _objects([d if isinstance(d, int) else _name(d) for d in x.shape])
        start = _int(node, "start", 0)
        return dims[start : _int(node, "end", len(dims))]
    if not any(value in known for value in node.inputs):
        return None
    inputs = [_input(value, known) for value in node.inputs]
    first = inputs[0]
    if first is None:
        return None
    if node.op_type == "Where":
        return _chosen(inputs)
    if node.op_type == "ConstantOfShape":
        return _filled(node, first)
    if node.op_type == "Identity":
        return first
    if node.op_type in _SINGLE:
        single = _SINGLE[node.op_type]
        return _objects([single(x) if _number(x) else None for x in first.ravel()], first.shape)
    if node.op_type == "Cast":
        return _cast(node, first)
    if node.op_type in _ARITHMETIC or node.op_type == "Div":
        second = inputs[1] if len(inputs) == 2 else None
        return None if second is None else _both(node.op_type, first, second)
    return _moved(node, inputs)


def _moved(node: ir.Node, inputs: list[Sizes | None]) -> Sizes | None:
    """Return the sizes that a node computes by moving sizes; None if they are unknown."""
    first, rest = inputs[0], inputs[1:]
    assert first is not None
    numbers = [None if x is None else _numbers(x) for x in rest]
    if node.op_type == "Concat":
        if any(x is None or x.ndim != 1 for x in inputs):
            return None
        return np.concatenate([x for x in inputs if x is not None])
    if node.op_type == "Gather":
        indices = numbers[0]
        return None if indices is None or first.ndim != 1 else _array(first[indices])
    if node.op_type == "Slice" and first.ndim == 1 and len(numbers) > 1:
        starts, ends = numbers[0], numbers[1]
        step = numbers[3] if len(numbers) > 3 else np.array([1])
        if starts is None or ends is None or step is None:
            return None
        return first[int(starts[0]) : int(ends[0]) : int(step[0])]
    if node.op_type == "Unsqueeze" and first.ndim == 0:
        return first.reshape(1)
    if node.op_type == "Squeeze" and first.size == 1:
        return first.reshape(())
    shape = node.outputs[0].shape
    if node.op_type in ("Reshape", "Squeeze", "Unsqueeze") and shape is not None:
        return first.reshape(shape.numpy()) if shape.is_static() else None
    return None


def _input(value: ir.Value | None, known: Mapping[ir.Value, Sizes]) -> Sizes | None:
    """Return the sizes of an input; None if they are unknown."""
    if value is None:
        return None
    if value in known:
        return known[value]
    tensor = value.const_value
    if tensor is None or tensor.size > LARGEST:
        return None
    return _objects(tensor.numpy().ravel().tolist(), tensor.numpy().shape)


def _chosen(inputs: list[Sizes | None]) -> Sizes | None:
    """Return the result of a Where."""
    arrays = [x for x in inputs if x is not None]
    if len(arrays) != 3:
        return None
    conditions, x, y = np.broadcast_arrays(*arrays)
    chosen = [
        None if condition is None else if_true if condition else if_false
        for condition, if_true, if_false in zip(
            conditions.ravel(), x.ravel(), y.ravel(), strict=True
        )
    ]
    return _objects(chosen, conditions.shape)


def _filled(node: ir.Node, shape: Sizes) -> Sizes | None:
    """Return the result of a ConstantOfShape."""
    sizes = _numbers(shape)
    if sizes is None or math.prod(sizes.tolist()) > LARGEST:
        return None
    attribute = node.attributes.get("value")
    entry = attribute.as_tensor().numpy().item() if attribute is not None else 0.0
    return _objects([entry] * math.prod(sizes.tolist()), tuple(sizes.tolist()))


def _both(op_type: str, first: Sizes, second: Sizes) -> Sizes:
    a, b = np.broadcast_arrays(first, second)
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return _objects([_result(op_type, x, y) for x, y in pairs], a.shape)


def _result(op_type: str, x: Any, y: Any) -> Any:
    if not _number(x) or not _number(y):
        return None
    if op_type != "Div":
        return _ARITHMETIC[op_type](x, y)
    if y == 0:
        return None
    # Sizes are not negative: rounding down is the same as ONNX's rounding towards zero.
    return x // y if isinstance(x, int) and isinstance(y, int) else x / y


def _cast(node: ir.Node, x: Sizes) -> Sizes | None:
    dtype = ir.DataType(_int(node, "to", 0))
    if not dtype.is_integer() and not dtype.is_floating_point():
        return None
    kind = int if dtype.is_integer() else float
    # A cast changes only numbers: a symbolic size keeps its name.
    return _objects([kind(v) if _number(v) else v for v in x.ravel()], x.shape)


def _number(x: Any) -> bool:
    return isinstance(x, (int, float))


def _numbers(sizes: Sizes) -> np.ndarray | None:
    if not all(isinstance(size, int) for size in sizes.ravel().tolist()):
        return None
    return sizes.astype(np.int64)


def _objects(entries: list[Any], shape: tuple[int, ...] | None = None) -> Sizes:
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array if shape is None else array.reshape(shape)


def _array(found: Any) -> Sizes:
    return found if isinstance(found, np.ndarray) else _objects([found], ())


def _name(dim: Any) -> str | None:
    return None if isinstance(dim, int) else dim.value


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def _static(value: ir.Value) -> bool:
    return not value.name or (value.shape is not None and value.shape.is_static())


def _has_graph(node: ir.Node) -> bool:
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in graphs for attribute in node.attributes.values())


def _remove_unused(graph: ir.Graph, known: Mapping[ir.Value, Sizes]) -> None:
    """Remove the nodes that computed known sizes, and their constants."""
    for node in reversed(list(graph)):
        if node.outputs[0] not in known:
            continue
        if any(value.uses() or value.is_graph_output() for value in node.outputs):
            continue
        inputs = list(node.inputs)
        graph.remove(node, safe=True)
        for value in inputs:
            if value is not None:
                drop_unused(graph, value)
