"""Building a graph node by node: shapes are inferred at once, and every node knows its layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from .network import IR_VERSION, OPSET, BlobRef
from .shapes import infer_node

__all__ = ["Attribute", "Builder"]

Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


class Builder:
    """Collects the nodes of one graph.

    `layer` is the position of the source layer being read; every node and parameter made while it
    is set belongs to that layer. Names of inner values are `<scope>/<operator>`, made unique.
    """

    def __init__(self, name: str):
        self.name = name
        self.layer: int | None = None
        self.scope = name
        self._inputs: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._initializers: list[ir.Value] = []
        self._names: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int | str]) -> ir.Value:
        """Declare a float32 graph input."""
        value = ir.Value(
            name=self._unique(name), shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT)
        )
        self._inputs.append(value)
        return value

    def is_input(self, value: ir.Value) -> bool:
        """Return whether a value is an input of the graph."""
        return any(value is one for one in self._inputs)

    def parameter(self, array: np.ndarray, *blobs: BlobRef) -> ir.Value:
        """Add a trained parameter: the value of the given blobs of the source."""
        name = f"{self.scope}/{blobs[0].name}" if blobs else f"{self.scope}/parameter"
        value = self._initializer(array, name)
        value.meta["blobs"] = tuple(blobs)
        return value

    def constant(self, array: Any, dtype: Any = np.int64) -> ir.Value:
        """Add a constant that belongs to no blob: a shape, an axis list, a divisor map.

        A number too large for float32 becomes infinite, as it does in the frameworks.
        """
        with np.errstate(over="ignore"):
            values = np.asarray(array, dtype=dtype)
        return self._initializer(values, f"{self.scope}/constant")

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        """Emit a node with one output and return the output."""
        return self.ops(op_type, *inputs, count=1, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, count: int, **attributes: Attribute
    ) -> tuple[ir.Value, ...]:
        """Emit a node with `count` outputs and return them.

        Trailing optional inputs that are None are not written as empty names: other runtimes run
        files with such names slowly.

        Raises:
            FormatError: the inputs do not fit the operator.
        """
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        node = ir.node(
            op_type, given, attributes=attributes, num_outputs=count,
            name=self._unique(f"{self.scope}/{op_type}:node"),
        )  # fmt: skip
        for value in node.outputs:
            value.name = self._unique(f"{self.scope}/{op_type}")
        node.meta["layer"] = self.layer
        infer_node(node)
        self._nodes.append(node)
        return tuple(node.outputs)

    def finish(self, outputs: Mapping[str, ir.Value]) -> ir.Model:
        """Close the graph and name its outputs.

        A value gets an Identity behind it if it is an input, an initializer or an output already.
        """
        taken = {id(value) for value in self._inputs} | {id(value) for value in self._initializers}
        closing = []
        for name, value in outputs.items():
            if id(value) in taken:
                value = self.op("Identity", value)
            taken.add(id(value))
            closing.append((name, value))
        wanted = {name for name, _ in closing}
        for node in self._nodes:
            for value in node.outputs:
                if value.name in wanted:
                    value.name = self._unique(f"{value.name}/inner")
        for name, value in closing:
            value.name = name
        graph = ir.Graph(
            self._inputs,
            [value for _, value in closing],
            nodes=self._nodes,
            initializers=self._initializers,
            opset_imports={"": OPSET},
            name=self.name,
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="secateur")

    def _initializer(self, array: np.ndarray, name: str) -> ir.Value:
        unique = self._unique(name)
        tensor = ir.Tensor(array, name=unique)
        value = ir.Value(
            name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._initializers.append(value)
        return value

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return self._unique(f"{name}_{count}") if count else name
