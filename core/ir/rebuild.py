"""Copying a network with other tensors or attributes: the only way a graph ever changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..errors import PlanError
from .builder import Attribute
from .network import OPSET, Network
from .shapes import infer_node
from .subgraphs import subgraphs

__all__ = ["changed_tensors", "copied_value", "expose", "node_key", "rebuild", "twin_node"]


def node_key(node: ir.Node) -> str:
    """Return what identifies a node in every copy of its graph: the name of its first output."""
    return str(node.outputs[0].name)


def changed_tensors(before: Network, after: Network) -> dict[str, np.ndarray]:
    """Return initializer → values in `after`, of those that are no longer the tensors of `before`.

    Args:
        before: a network.
        after: what :func:`rebuild` made of it, once or several times.
    """
    return {
        name: value.const_value.numpy()
        for name, value in after.graph.initializers.items()
        if value.const_value is not None
        and value.const_value is not before.graph.initializers[name].const_value
    }


def rebuild(
    network: Network,
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    attributes: Mapping[str, Mapping[str, Attribute]] | None = None,
    extra_outputs: Mapping[str, str] | None = None,
) -> Network:
    """Return a copy of `network` with some initializers and attributes replaced.

    Tensors that are not replaced are shared with the original, so that a copy costs nothing and
    unchanged blobs are known by identity. Shapes are inferred anew where sizes changed.

    Args:
        network: the network to copy.
        tensors: initializer name → new array.
        attributes: node key (see :func:`node_key`) → attribute name → new value.
        extra_outputs: name of a new output → name of the inner value it shows.

    Raises:
        FormatError: the new sizes do not fit together.
    """
    tensors = tensors or {}
    attributes = attributes or {}
    graph = network.graph
    copies: dict[str, ir.Value] = {}
    for value in graph.inputs:
        copies[str(value.name)] = copied_value(value)
    initializers = []
    for name, value in graph.initializers.items():
        copy = copied_value(value, tensors.get(name))
        copies[name] = copy
        initializers.append(copy)
    resized = bool(attributes) or any(
        tensors[name].shape != tuple(graph.initializers[name].shape or ()) for name in tensors
    )
    nodes = []
    opset = graph.opset_imports.get("", OPSET)
    for node in graph:
        if resized and _resized(node, copies, attributes, tensors):
            twin = _copied_node(node, copies, attributes.get(node_key(node)))
            infer_node(twin, opset)
            for value, before in zip(twin.outputs, node.outputs, strict=True):
                if value.shape is None and before.shape is not None:
                    value.shape = ir.Shape([None] * len(before.shape))
        else:
            twin = twin_node(node, copies)
        nodes.append(twin)
    outputs = [copies[str(v.name)] for v in graph.outputs]
    for name, inner in (extra_outputs or {}).items():
        shown = ir.node("Identity", [copies[inner]], name=f"{name}:node")
        shown.outputs[0].name = name
        infer_node(shown, opset)
        nodes.append(shown)
        outputs.append(shown.outputs[0])
    copied = ir.Graph(
        [copies[str(v.name)] for v in graph.inputs],
        outputs,
        nodes=nodes,
        initializers=initializers,
        opset_imports=dict(graph.opset_imports),
        name=graph.name,
        doc_string=graph.doc_string,
        metadata_props=dict(graph.metadata_props),
    )
    return replace(network, model=_copied_model(network.model, copied))


def _resized(
    node: ir.Node,
    copies: Mapping[str, ir.Value],
    attributes: Mapping[str, Mapping[str, Attribute]],
    tensors: Mapping[str, np.ndarray],
) -> bool:
    """Whether the outputs of a node may have other sizes than before.

    Operators of other domains and those with subgraphs touch nothing that is resized.
    """
    if node.domain != "" or subgraphs(node):
        return False
    if node_key(node) in attributes:
        return True
    return any(
        copies[str(value.name)].shape != value.shape
        or (str(value.name) in tensors and value.dtype == ir.DataType.INT64)
        for value in node.inputs
        if value is not None
    )


def _copied_model(model: ir.Model, graph: ir.Graph) -> ir.Model:
    """Return a model of another graph with everything else as it was."""
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        metadata_props=dict(model.metadata_props),
    )


def twin_node(node: ir.Node, copies: dict[str, ir.Value]) -> ir.Node:
    """Return a copy of a node that reads the copies of its inputs; its outputs join `copies`.

    Args:
        node: the node; its outputs keep their shapes.
        copies: name → value of the graph that is being made.
    """
    twin = _copied_node(node, copies)
    for value, original in zip(twin.outputs, node.outputs, strict=True):
        value.shape = original.shape
    return twin


def _copied_node(
    node: ir.Node,
    copies: dict[str, ir.Value],
    changed: Mapping[str, Attribute] | None = None,
) -> ir.Node:
    changed = changed or {}
    attributes = [attr for name, attr in node.attributes.items() if name not in changed]
    copy = ir.Node(
        node.domain,
        node.op_type,
        [copies[str(v.name)] if v is not None else None for v in node.inputs],
        [*attributes, *ir.convenience.convert_attributes(changed)],
        outputs=[_blank(v) for v in node.outputs],
        overload=node.overload,
        name=node.name,
        doc_string=node.doc_string,
        metadata_props=dict(node.metadata_props),
    )
    copy.meta.update(node.meta)
    copies.update((str(v.name), v) for v in copy.outputs)
    return copy


def copied_value(value: ir.Value, array: np.ndarray | None = None) -> ir.Value:
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


def expose(network: Network, layers: Sequence[str] | None = None) -> Network:
    """Return a copy with the first top of inner layers as further outputs `layer:<name>`.

    Args:
        network: the network to copy.
        layers: names of layers; None for all. Where several layers bear one name, the last counts.

    Raises:
        PlanError: there is no layer of a name.
    """
    by_name = {info.name: info.tops[0] for info in network.layers if info.tops}
    names = list(by_name) if layers is None else list(layers)
    for name in names:
        if name not in by_name:
            raise PlanError(f"the network has no layer '{name}' to expose")
    return rebuild(network, extra_outputs={f"layer:{name}": by_name[name] for name in names})


def _blank(value: ir.Value) -> ir.Value:
    """Return an output of the same name and meaning whose shape is still to be inferred."""
    blank = ir.Value(name=value.name, type=value.type, doc_string=value.doc_string)
    blank.metadata_props.update(value.metadata_props)
    blank.meta.update(value.meta)
    return blank
