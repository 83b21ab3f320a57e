"""Making a network out of copies of another one's values and nodes.

A graph is never changed in place. An :class:`Assembly` copies the values and nodes that stay the
same; nodes that differ are added between the copies. Copies share their tensors with the original:
they cost no memory, and a tensor that is the same object is known to be unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from .builder import Attribute
from .network import OPSET, Network
from .shapes import infer_node
from .subgraphs import captured

__all__ = ["NONE", "Assembly", "Tensors"]

Tensors = Mapping[str, np.ndarray]
"""Initializer → array."""

NONE: Tensors = MappingProxyType({})

_UNCHANGED: Mapping[str, Attribute] = MappingProxyType({})
_NOTHING: Mapping[str, ir.Value] = MappingProxyType({})


class Assembly:
    """A graph in the making, out of copies of the values and nodes of a network.

    Nodes are added in an order in which they can be computed.

    Args:
        network: where values and nodes are copied from.
        tensors: initializer → the array that its copy holds, of any shape; others are shared.
    """

    def __init__(self, network: Network, tensors: Tensors = NONE):
        self.values: dict[str, ir.Value] = {}
        """Name → value of the new graph."""
        self._network = network
        self._tensors = tensors
        self._opset = network.graph.opset_imports.get("", OPSET)
        self._inputs: list[ir.Value] = []
        self._initializers: list[ir.Value] = []
        self._nodes: list[ir.Node] = []

    @cached_property
    def _originals(self) -> dict[str, ir.Value]:
        return self._network.values()

    def take(self, value: ir.Value) -> None:
        """Copy a value that no node of the new graph makes.

        An initializer stays an initializer; any other value becomes an input.
        """
        copy = _copied_value(value, self._tensors.get(str(value.name)))
        self.values[str(value.name)] = copy
        (self._inputs if value.const_value is None else self._initializers).append(copy)

    def take_read(self, node: ir.Node, without: Collection[str] = ()) -> None:
        """Copy the values that a node or a graph inside it reads, if the new graph lacks them.

        Args:
            node: the node.
            without: names of values that the copy of the node does not read.
        """
        for value in node.inputs:
            if value is not None and value.name not in self.values and value.name not in without:
                self.take(value)
        for name in captured(node):
            if name not in self.values:
                self.take(self._originals[name])

    def input(self, name: str, shape: Sequence[int | str], like: ir.Value) -> ir.Value:
        """Return a new input, of the type of another value."""
        value = ir.Value(name=name, shape=ir.Shape(shape), type=like.type)
        self.values[name] = value
        self._inputs.append(value)
        return value

    def add(self, node: ir.Node, reads: Mapping[str, ir.Value] = _NOTHING) -> None:
        """Copy a node whose outputs keep their shapes.

        Args:
            node: the node; the values it reads are in the new graph.
            reads: name of a value that the node reads → value that its copy reads instead.
        """
        copy = self._copied_node(node, reads=reads)
        for value, original in zip(copy.outputs, node.outputs, strict=True):
            value.shape = original.shape

    def add_resized(
        self,
        node: ir.Node,
        attributes: Mapping[str, Attribute] = _UNCHANGED,
        reads: Mapping[str, ir.Value] = _NOTHING,
    ) -> None:
        """Copy a node whose outputs get the shapes that its inputs have now.

        Where shape inference finds none, the rank remains.

        Args:
            node: a node of ONNX's own operators without subgraphs.
            attributes: attribute → its new value.
            reads: name of a value that the node reads → value that its copy reads instead.

        Raises:
            FormatError: the new sizes do not fit together.
        """
        copy = self._copied_node(node, attributes, reads)
        infer_node(copy, self._opset)
        for value, original in zip(copy.outputs, node.outputs, strict=True):
            if value.shape is None and original.shape is not None:
                value.shape = ir.Shape([None] * len(original.shape))

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        """Add a constant and return it."""
        tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.values[name] = value
        self._initializers.append(value)
        return value

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str,
        like: ir.Value,
        attributes: Mapping[str, Attribute] = _UNCHANGED,
    ) -> ir.Value:
        """Add a new node with one output of a name and return that output.

        Args:
            op_type: an operator of ONNX itself.
            inputs: values of the new graph.
            name: of the output.
            like: a value with the type and the shape that the output has.
            attributes: of the node.
        """
        node = ir.node(op_type, inputs, attributes=attributes, name=f"{name}:node")
        output = node.outputs[0]
        output.name, output.type, output.shape = name, like.type, like.shape
        self._append(node)
        return output

    def network(self, outputs: Sequence[str]) -> Network:
        """Return the network of the new graph, with everything else as the original has it.

        It has no companions: they fit the graph of the original.

        Args:
            outputs: names of the values that become its outputs, in their order.
        """
        original, model = self._network.graph, self._network.model
        graph = ir.Graph(
            self._inputs,
            [self.values[name] for name in outputs],
            nodes=self._nodes,
            initializers=self._initializers,
            opset_imports=dict(original.opset_imports),
            name=original.name,
            doc_string=original.doc_string,
            metadata_props=dict(original.metadata_props),
        )
        copied = ir.Model(
            graph,
            ir_version=model.ir_version,
            producer_name=model.producer_name,
            producer_version=model.producer_version,
            domain=model.domain,
            model_version=model.model_version,
            doc_string=model.doc_string,
            metadata_props=dict(model.metadata_props),
        )
        return replace(self._network, model=copied, companions=())

    def _copied_node(
        self,
        node: ir.Node,
        attributes: Mapping[str, Attribute] = _UNCHANGED,
        reads: Mapping[str, ir.Value] = _NOTHING,
    ) -> ir.Node:
        values = {**self.values, **reads} if reads else self.values
        kept = list(node.attributes.values())
        if attributes:
            kept = [attr for attr in kept if attr.name not in attributes]
            kept += ir.convenience.convert_attributes(attributes)
        copy = ir.Node(
            node.domain,
            node.op_type,
            [values[str(v.name)] if v is not None else None for v in node.inputs],
            kept,
            outputs=[_blank(v) for v in node.outputs],
            overload=node.overload,
            name=node.name,
            doc_string=node.doc_string,
            metadata_props=dict(node.metadata_props),
        )
        copy.meta.update(node.meta)
        self._append(copy)
        return copy

    def _append(self, node: ir.Node) -> None:
        for value in node.outputs:
            self.values[str(value.name)] = value
        self._nodes.append(node)


def _copied_value(value: ir.Value, array: np.ndarray | None) -> ir.Value:
    """Return a copy of a value; an initializer gets another array where one is given."""
    tensor = value.const_value
    if array is not None:
        tensor = ir.Tensor(np.ascontiguousarray(array), name=value.name)
    shape = ir.Shape(tensor.numpy().shape) if tensor is not None else value.shape
    copy = ir.Value(
        name=value.name,
        shape=shape,
        type=value.type,
        doc_string=value.doc_string,
        const_value=tensor,
    )
    copy.metadata_props.update(value.metadata_props)
    copy.meta.update(value.meta)
    return copy


def _blank(value: ir.Value) -> ir.Value:
    """Return an output of the same name and meaning whose shape is still to be set."""
    blank = ir.Value(name=value.name, type=value.type, doc_string=value.doc_string)
    blank.metadata_props.update(value.metadata_props)
    blank.meta.update(value.meta)
    return blank
