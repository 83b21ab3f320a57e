"""Constants of an ONNX graph in one form: as initializers, with a copy for each use.

Exporters store constants as nodes, list them among the inputs, copy them with Identity, and merge
equal ones. Pruning changes a constant according to its use. So every use that pruning may change
differently gets a copy of its own.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

__all__ = ["add_initializer", "drop_unused", "lift", "separate", "state_sizes"]

COUNTING = frozenset({"Expand", "Reshape", "Resize", "Slice", "Split", "Tile"})
"""Operators whose integer inputs may count channels."""


def lift(graph: ir.Graph) -> None:
    """Turn Constant nodes and copies of initializers into initializers; changes the graph."""
    for name in [str(value.name) for value in graph.inputs]:
        # Old exporters list weights among the inputs as well.
        if name in graph.initializers:
            graph.inputs.remove(graph.initializers[name])
    for node in list(graph):
        if node.op_type not in ("Constant", "Identity") or node.domain != "":
            continue
        old = node.outputs[0]
        source = None
        if node.op_type == "Identity":
            source = node.inputs[0]
            tensor = source.const_value if source is not None else None
            if tensor is None or old.is_graph_output():
                continue
        else:
            tensor = ir.convenience.get_const_tensor(old)
        if tensor is None:
            continue
        name = str(old.name)
        old.name = f"{name}/constant"
        ir.convenience.replace_all_uses_with(old, add_initializer(graph, name, tensor.numpy()))
        if old.is_graph_output():
            for place, value in enumerate(graph.outputs):
                if value is old:
                    graph.outputs[place] = graph.initializers[name]
        graph.remove(node, safe=True)
        if source is not None:
            drop_unused(graph, source)


def drop_unused(graph: ir.Graph, value: ir.Value) -> None:
    """Remove an initializer that no node reads any more."""
    if value.const_value is not None and not value.uses() and not value.is_graph_output():
        graph.initializers.pop(str(value.name), None)


def separate(graph: ir.Graph) -> None:
    """Give each use of a shared vector or size a copy of its own; changes the graph.

    Exporters merge constants that happen to be equal: vectors of normalisations, targets of
    reshapes. Matrices and kernels stay shared: the network shares them on purpose.
    """
    taken = set(graph.initializers)
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        uses = list(value.uses())
        if tensor is None or len(uses) < 2 or value.is_graph_output():
            continue
        is_vector = sum(size > 1 for size in tensor.shape.numpy()) == 1
        if not is_vector and not (len(tensor.shape) == 1 and tensor.dtype == ir.DataType.INT64):
            continue
        for number, use in enumerate(uses[1:], start=1):
            counts = use.node.op_type in COUNTING
            if use.node.graph is not graph or (tensor.dtype.is_integer() and not counts):
                continue
            copy = f"{name}/{number}"
            while copy in taken:
                copy += "_"
            taken.add(copy)
            use.node.replace_input_with(use.idx, add_initializer(graph, copy, tensor.numpy()))


def state_sizes(graph: ir.Graph, opset: int) -> None:
    """Add explicit sizes to every Split without them, so that its parts may become unequal."""
    for node in list(graph):
        if node.op_type != "Split" or node.domain != "" or "split" in node.attributes:
            continue
        if len(node.inputs) > 1 and node.inputs[1] is not None:
            continue
        axis = node.attributes.get("axis")
        place = axis.as_int() if axis is not None else 0
        sizes = [v.shape[place] if v.shape is not None else None for v in node.outputs]
        numbers = [size for size in sizes if isinstance(size, int)]
        if len(numbers) < len(sizes):
            continue
        if opset < 13:
            node.attributes["split"] = ir.AttrInt64s("split", numbers)
        else:
            _give_sizes(graph, node, np.array(numbers, dtype=np.int64))


def _give_sizes(graph: ir.Graph, node: ir.Node, sizes: np.ndarray) -> None:
    """Replace a Split by one with sizes as its second input."""
    value = add_initializer(graph, f"{node.outputs[0].name}/sizes", sizes)
    explicit = ir.Node(
        "",
        "Split",
        [node.inputs[0], value],
        [attribute for name, attribute in node.attributes.items() if name != "num_outputs"],
        num_outputs=len(node.outputs),
        name=node.name,
        doc_string=node.doc_string,
        metadata_props=dict(node.metadata_props),
    )
    for new, old in zip(explicit.outputs, node.outputs, strict=True):
        new.name, new.shape, new.type, new.doc_string = (
            old.name,
            old.shape,
            old.type,
            old.doc_string,
        )
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], [explicit], node.outputs, explicit.outputs
    )


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Add an array as an initializer and return its value."""
    tensor = ir.Tensor(array, name=name)
    value = ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
