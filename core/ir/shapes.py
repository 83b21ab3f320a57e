"""Shapes of single nodes, by ONNX's own shape inference."""

from __future__ import annotations

import functools

import onnx
import onnx_ir as ir

from ..errors import FormatError
from .network import IR_VERSION, OPSET

__all__ = ["infer_node"]

LARGEST_INTEGER_CONSTANT = 4096
"""Elements up to which shape inference is given the numbers of an integer constant (shapes, axes,
pads)."""

LARGEST_FLOAT_CONSTANT = 8
"""Elements up to which it is given those of a float constant (the factors of a resize)."""

_AS = {
    "GreaterOrEqual": "Greater",
    "GroupNormalization": "InstanceNormalization",
    "LessOrEqual": "Less",
    "MeanVarianceNormalization": "Relu",
}
"""Operator that older versions of onnx define as a function and cannot infer shapes of → an
operator whose output has the same shape."""

_KEEP_BATCH = frozenset({"Resize", "Tile"})
"""Operators that keep the first dimension, but whose inference drops its name."""


@functools.cache
def _schema(op_type: str, opset: int) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op_type, opset, "")


@functools.cache
def _opset(opset: int) -> list[onnx.OperatorSetIdProto]:
    return [onnx.helper.make_opsetid("", opset)]


def infer_node(node: ir.Node, opset: int = OPSET) -> None:
    """Set types and shapes of the outputs of a new node from types and shapes of its inputs.

    Args:
        node: an operator of ONNX itself, without subgraphs.
        opset: version of the operator set that the node is written for.

    Raises:
        FormatError: the inputs do not fit the operator, or an output would be empty.
    """
    proto = ir.serde.serialize_node(node)
    if node.op_type in _AS:
        proto.op_type = _AS[node.op_type]
        del proto.attribute[:]
    types = {}
    data = {}
    for value in node.inputs:
        if value is None:
            continue
        types[str(value.name)] = _type_proto(value)
        tensor = value.const_value
        if tensor is not None and tensor.size <= _largest_shown(tensor):
            data[str(value.name)] = onnx.numpy_helper.from_array(tensor.numpy())
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            _schema(proto.op_type, opset),
            proto,
            types,
            data,
            opset_imports=_opset(opset),
            ir_version=IR_VERSION,
        )
    except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError) as error:
        raise FormatError(f"sizes do not fit: {_reason(error)}") from error
    for value in node.outputs:
        found = inferred.get(str(value.name))
        if found is None or not found.HasField("tensor_type"):
            continue
        value.type = ir.TensorType(ir.DataType(found.tensor_type.elem_type))
        if not found.tensor_type.HasField("shape"):
            continue
        dims = [
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
            for dim in found.tensor_type.shape.dim
        ]
        if node.op_type in _KEEP_BATCH and dims and dims[0] is None:
            dims[0] = types[proto.input[0]].tensor_type.shape.dim[0].dim_param or None
        if any(isinstance(dim, int) and dim <= 0 for dim in dims):
            shown = "×".join(str(dim) for dim in dims)
            raise FormatError(f"the output would be empty ({shown}): the input is too small")
        value.shape = ir.Shape(dims)


def _largest_shown(tensor: ir.TensorProtocol) -> int:
    """Return how many elements a constant may have for inference to be given its numbers."""
    return LARGEST_INTEGER_CONSTANT if tensor.dtype.is_integer() else LARGEST_FLOAT_CONSTANT


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    dtype = value.dtype or ir.DataType.FLOAT
    if value.shape is None:
        return onnx.helper.make_tensor_type_proto(int(dtype), None)
    dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    return onnx.helper.make_tensor_type_proto(int(dtype), dims)


def _reason(error: Exception) -> str:
    """Return the last line of ONNX's report, which names the fault."""
    text = str(error).strip().splitlines()[-1]
    return text.rsplit("] ", 1)[-1].strip() or "the operator refused its inputs"
