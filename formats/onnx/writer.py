"""Writing a network as an ONNX file, weight by weight, so that no copy of the whole is made.

Source of the field numbers: onnx.proto (ModelProto, GraphProto, TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from ...core.ir.network import Network, Piece
from ..wire import length_field
from .mapped import INLINE

__all__ = ["DATA", "to_pieces"]

DATA = ".onnx.data"
"""The suffix of a file of weights beside the model."""

LARGEST = (1 << 31) - (1 << 24)
"""Bytes of weights that fit into the model: protobuf's limit for one message, less the graph."""

ALIGNMENT = 64
"""Bytes. In a file of weights, each tensor starts at a multiple of it."""

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number


def to_pieces(network: Network, name: str) -> dict[str, list[Piece]]:
    """Return the parts of checked ONNX files; large weights are views of what the graph holds.

    The weights go into a file of their own, `<name>.data`, if those of the network that was read
    did, or if the model would exceed protobuf's limit.

    Args:
        network: the network to write.
        name: name of the model's file.

    Returns:
        ".onnx" → parts. With a file of weights, also ".onnx.data" → parts.

    Raises:
        onnx.checker.ValidationError: the graph is no valid model.
    """
    proto, large = skeleton(network.model)
    check(proto, large)
    graph: list[Piece] = [proto.graph.SerializeToString(deterministic=True)]
    apart = network.source is not None and DATA in network.source.paths
    apart = apart or sum(tensor.nbytes for tensor in large.values()) > LARGEST
    data: list[Piece] = []
    offset = 0
    for title, tensor in large.items():
        array = np.ascontiguousarray(tensor.numpy())
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        head = onnx.TensorProto(name=title, dims=array.shape, data_type=tensor.dtype.value)
        view = array.reshape(-1).view(np.uint8).data
        if not apart:
            graph += length_field(
                _INITIALIZER, [head.SerializeToString(), *length_field(_RAW_DATA, [view])]
            )
            continue
        gap = -offset % ALIGNMENT
        data += [bytes(gap), view]
        head.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": f"{name}.data", "offset": offset + gap, "length": view.nbytes}
        for key, value in place.items():
            head.external_data.add(key=key, value=str(value))
        graph += length_field(_INITIALIZER, [head.SerializeToString()])
        offset += gap + view.nbytes
    proto.ClearField("graph")
    files = {".onnx": [proto.SerializeToString(deterministic=True), *length_field(_GRAPH, graph)]}
    return files | ({DATA: data} if apart else {})


def skeleton(
    model: ir.Model,
) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """Return the model without its large float tensors, and these tensors by name."""
    proto = _header(model)
    _add_graph(proto.graph, model.graph)
    large: dict[str, ir.TensorProtocol] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None, f"initializer {name} has no data"
        if tensor.nbytes > INLINE and tensor.dtype.is_floating_point():
            large[name] = tensor
        else:
            proto.graph.initializer.append(ir.serde.serialize_tensor(tensor))
            proto.graph.initializer[-1].name = name
    return proto, large


def _header(model: ir.Model) -> onnx.ModelProto:
    """Return a model with the versions and metadata of another, and an empty graph."""
    proto = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
    )
    proto.opset_import.extend(
        onnx.helper.make_opsetid(domain, version)
        for domain, version in model.graph.opset_imports.items()
    )
    proto.metadata_props.extend(
        onnx.StringStringEntryProto(key=key, value=text)
        for key, text in model.metadata_props.items()
    )
    return proto


def _add_graph(graph: onnx.GraphProto, source: ir.Graph) -> None:
    """Fill an empty graph with the nodes and values of another, without initializers."""
    graph.name = source.name or "graph"
    if source.doc_string:
        graph.doc_string = source.doc_string
    graph.metadata_props.extend(
        onnx.StringStringEntryProto(key=key, value=text)
        for key, text in source.metadata_props.items()
    )
    graph.node.extend(ir.serde.serialize_node(node) for node in source)
    graph.input.extend(ir.serde.serialize_value(value) for value in source.inputs)
    graph.output.extend(ir.serde.serialize_value(value) for value in source.outputs)
    outer = {value.name for value in (*graph.input, *graph.output)}
    graph.value_info.extend(
        ir.serde.serialize_value(value)
        for node in source
        for value in node.outputs
        if value.name and value.name not in outer and value.shape is not None
    )


def check(proto: onnx.ModelProto, large: Mapping[str, ir.TensorProtocol]) -> None:
    """Check the structure, the types and the shapes of a model.

    Args:
        proto: the model without its large tensors.
        large: the large tensors by name.

    Raises:
        onnx.checker.ValidationError: the structure is not valid.
        onnx.shape_inference.InferenceError: types or shapes contradict each other.
    """
    add_stand_ins(proto, large)
    try:
        if any(map(_not_inferable, _nodes(proto.graph))):
            onnx.checker.check_model(proto)
            onnx.checker.check_model(_inferable(proto), full_check=True)
        else:
            onnx.checker.check_model(proto, full_check=True)
    finally:
        remove_stand_ins(proto, large)


def _inferable(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with a stand-in of the same types and shapes for what is not inferable."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in filter(_not_inferable, _nodes(copy.graph)):
        node.op_type = "Relu"
    return copy


def _not_inferable(node: onnx.NodeProto) -> bool:
    """Whether onnx fails to infer the shape of a valid node.

    onnx infers MeanVarianceNormalization from its definition as a function, and loses the default
    of `axes` on the way: "One and only one of the attributes … must be specified for a Constant".
    """
    return node.op_type == "MeanVarianceNormalization" and not node.domain and not node.attribute


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of all graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def add_stand_ins(proto: onnx.ModelProto, large: Mapping[str, ir.TensorProtocol]) -> None:
    """Declare large tensors as inputs: checks and shape inference need no more than that."""
    known = {value.name for value in proto.graph.input}
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, tensor.dtype.value, list(tensor.numpy().shape))
        for name, tensor in large.items()
        if name not in known
    )


def remove_stand_ins(proto: onnx.ModelProto, large: Mapping[str, ir.TensorProtocol]) -> None:
    """Remove the inputs that :func:`add_stand_ins` added."""
    kept = [value for value in proto.graph.input if value.name not in large]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
