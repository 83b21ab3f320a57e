"""Reading an ONNX file: checked, brought to the one opset, shapes inferred, constants lifted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError, located
from ...core.ir.network import IR_VERSION, OPSET, BlobRef, LayerInfo, Network
from .mapped import Mapped, open_onnx
from .source import OnnxSource
from .writer import add_stand_ins, remove_stand_ins

__all__ = ["load"]


def load(path: Path) -> Network:
    """Read an ONNX file.

    Args:
        path: the file; weights in external files are read from beside it.

    Raises:
        FormatError: it is no valid ONNX model.
        UnsupportedError: it cannot be brought to the opset used here.
    """
    with located(file=str(path)):
        mapped = open_onnx(path)
        model = _model(path, mapped)
        graph = model.graph
        _lift_constants(graph)
        _name_nodes(graph)
        layers = tuple(_layer(node) for node in graph)
        _tag(graph)
        if not graph.outputs:
            raise FormatError("the graph has no output")
        return Network(
            name=path.stem,
            model=model,
            layers=layers,
            source=OnnxSource(paths={".onnx": path}, release=mapped.release),
        )


def _model(path: Path, mapped: Mapped) -> ir.Model:
    proto = mapped.proto
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
        add_stand_ins(proto, mapped.large)
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"not a valid ONNX model: {_first_line(error)}") from error
    try:
        if opset != OPSET:
            # The converter must see constants: they may become attributes or inputs.
            proto = onnx.version_converter.convert_version(_whole(proto, mapped), OPSET)
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise UnsupportedError(
            f"opset {opset} cannot be converted to {OPSET}: {_first_line(error)}",
            hint=f"export the model with opset {OPSET}",
        ) from error
    try:
        model = ir.from_proto(proto)
        if opset == OPSET:
            _fill(model.graph, mapped)
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"not a valid ONNX model: {_first_line(error)}") from error
    model.ir_version = IR_VERSION
    return model


def _whole(proto: onnx.ModelProto, mapped: Mapped) -> onnx.ModelProto:
    """Return the model with all its tensors and no stand-ins."""
    remove_stand_ins(proto, mapped.large)
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(tensor.numpy(), name) for name, tensor in mapped.large.items()
    )
    return proto


def _fill(graph: ir.Graph, mapped: Mapped) -> None:
    """Turn the inputs that stand for large tensors into initializers."""
    for value in [value for value in graph.inputs if value.name in mapped.large]:
        graph.inputs.remove(value)
        value.const_value = mapped.large[str(value.name)]
        graph.register_initializer(value)


def _lift_constants(graph: ir.Graph) -> None:
    """Turn Constant nodes into initializers, which everything else understands."""
    for node in list(graph):
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            continue
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        if tensor is None:
            continue
        old = node.outputs[0]
        name = str(old.name)
        new = ir.Value(
            name=name,
            shape=ir.Shape(tensor.numpy().shape),
            type=ir.TensorType(tensor.dtype),
            const_value=ir.Tensor(tensor.numpy(), name=name),
        )
        old.name = f"{name}/constant"
        ir.convenience.replace_all_uses_with(old, new)
        graph.remove(node)
        graph.register_initializer(new)
    for name in [str(value.name) for value in graph.inputs]:
        # Old exporters list weights among the inputs, too.
        if name in graph.initializers:
            graph.inputs.remove(graph.initializers[name])


def _name_nodes(graph: ir.Graph) -> None:
    seen: set[str] = set()
    for node in graph:
        name = node.name or f"{node.op_type}:{node.outputs[0].name}"
        while name in seen:
            name += "_"
        node.name = name
        seen.add(name)


def _layer(node: ir.Node) -> LayerInfo:
    parameters = [value for value in node.inputs if value is not None and _is_weight(value)]
    return LayerInfo(
        name=str(node.name).removesuffix(":node"),
        type=node.op_type,
        bottoms=tuple(str(v.name) for v in node.inputs if v is not None and v.const_value is None),
        tops=tuple(str(value.name) for value in node.outputs),
        stored=sum(value.const_value.size for value in parameters if value.const_value is not None),
    )


def _tag(graph: ir.Graph) -> None:
    """Say which node each node is, and of which node each weight is a parameter."""
    for index, node in enumerate(graph):
        node.meta["layer"] = index
        for place, value in enumerate(node.inputs):
            if value is not None and _is_weight(value):
                ref = BlobRef(index, place, str(value.name))
                value.meta["blobs"] = (*value.meta.get("blobs", ()), ref)


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and np.issubdtype(tensor.dtype.numpy(), np.floating)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
