"""Writing a network as an ONNX file, weight by weight, so that no copy of the whole is made.

Source of the field numbers: onnx.proto (ModelProto, GraphProto, TensorProto).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from ...core.ir.network import Network, Piece
from ..wire import length_field
from .mapped import INLINE

__all__ = ["DATA", "to_pieces"]

DATA = ".onnx.data"
"""By what a file of weights beside the model is known."""

LARGEST = (1 << 31) - (1 << 24)
"""Bytes of weights that fit into the model: protobuf's limit for one message, less the graph."""

ALIGNMENT = 64
"""Tensors in a file of their own start at multiples of so many bytes."""

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number


def to_pieces(network: Network, name: str) -> dict[str, list[Piece]]:
    """Return the parts of checked ONNX files; large weights are views of what the graph holds.

    Weights stand in a file of their own, called `<name>.data`, where the network's own did, or
    where the model would be over protobuf's limit.

    Args:
        network: what to write.
        name: the name under which the model will stand.

    Returns:
        ".onnx" → parts, and where there is such a file, ".onnx.data" → parts.
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
    """Return the model without its large float tensors, and these by their names."""
    source = model.graph
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
        for domain, version in source.opset_imports.items()
    )
    proto.metadata_props.extend(
        onnx.StringStringEntryProto(key=key, value=text)
        for key, text in model.metadata_props.items()
    )
    graph = proto.graph
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
    large: dict[str, ir.TensorProtocol] = {}
    for name, value in source.initializers.items():
        tensor = value.const_value
        assert tensor is not None, f"initializer {name} has no data"
        if tensor.nbytes > INLINE and tensor.dtype.is_floating_point():
            large[name] = tensor
        else:
            graph.initializer.append(ir.serde.serialize_tensor(tensor))
            graph.initializer[-1].name = name
    return proto, large


def check(proto: onnx.ModelProto, large: Mapping[str, ir.TensorProtocol]) -> None:
    """Check a model whose large tensors stand beside it.

    Raises:
        onnx.checker.ValidationError: it is no valid model.
    """
    add_stand_ins(proto, large)
    try:
        onnx.checker.check_model(proto, full_check=True)
    finally:
        remove_stand_ins(proto, large)


def add_stand_ins(proto: onnx.ModelProto, large: Mapping[str, ir.TensorProtocol]) -> None:
    """Declare large tensors as inputs, which is all that checks and shape inference need."""
    known = {value.name for value in proto.graph.input}
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, tensor.dtype.value, list(tensor.numpy().shape))
        for name, tensor in large.items()
        if name not in known
    )


def remove_stand_ins(proto: onnx.ModelProto, large: Mapping[str, ir.TensorProtocol]) -> None:
    """Take back what `add_stand_ins` did."""
    kept = [value for value in proto.graph.input if value.name not in large]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
