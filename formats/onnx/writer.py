"""Writing a network as an ONNX file, weight by weight, so that no copy of the whole is made.

Source of the field numbers: onnx.proto (ModelProto, GraphProto, TensorProto).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from ...core.errors import UnsupportedError
from ...core.ir.network import Network, Piece
from ..wire import length_field
from .mapped import INLINE

__all__ = ["to_bytes", "to_pieces"]

LARGEST = (1 << 31) - 1
"""Protobuf's limit for one message, in bytes."""

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number


def to_bytes(network: Network) -> bytes:
    """Return the network as a checked ONNX file.

    Raises:
        UnsupportedError: the file would be over 2 GB.
    """
    return b"".join(to_pieces(network))


def to_pieces(network: Network) -> list[Piece]:
    """Return the parts of a checked ONNX file; large weights are views of what the graph holds.

    Raises:
        UnsupportedError: the file would be over 2 GB.
    """
    size = sum(v.const_value.nbytes for v in network.graph.initializers.values() if v.const_value)
    if size > LARGEST:
        raise UnsupportedError(f"{size} bytes of weights do not fit into one ONNX file (2 GB)")
    proto, large = skeleton(network.model)
    check(proto, large)
    graph: list[Piece] = [proto.graph.SerializeToString(deterministic=True)]
    for name, tensor in large.items():
        array = np.ascontiguousarray(tensor.numpy())
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        head = onnx.TensorProto(name=name, dims=array.shape, data_type=tensor.dtype.value)
        data = array.reshape(-1).view(np.uint8).data
        graph += length_field(
            _INITIALIZER, [head.SerializeToString(), *length_field(_RAW_DATA, [data])]
        )
    proto.ClearField("graph")
    return [proto.SerializeToString(deterministic=True), *length_field(_GRAPH, graph)]


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
