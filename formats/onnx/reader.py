"""Reading an ONNX file: check it, infer shapes, and bring constants into one form."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError, located
from ...core.ir.network import OPSET, BlobRef, LayerInfo, Network
from ...core.packed import plain_path
from .constants import lift, separate, state_sizes
from .mapped import Mapped, open_onnx
from .sizes import work_out_sizes
from .source import OnnxSource
from .writer import DATA, add_stand_ins

__all__ = ["load"]

EARLIEST = 7
"""The first opset that onnxruntime runs. Earlier opsets are refused: ONNX's own converter makes
wrong networks of some of them (Add with an axis)."""


def load(path: Path) -> Network:
    """Read an ONNX file.

    Args:
        path: the file. External weights are read from its folder.

    Raises:
        FormatError: the file is no valid ONNX model.
        UnsupportedError: the opset is too early or too late, or an input or output is no tensor.
    """
    with located(file=str(path)):
        mapped = open_onnx(path)
        model = _model(path, mapped)
        graph = model.graph
        opset = graph.opset_imports[""]
        lift(graph)
        work_out_sizes(graph, opset)
        state_sizes(graph, opset)
        separate(graph)
        _name_nodes(graph)
        _check(graph)
        layers = tuple(_layer(node) for node in graph)
        _tag(graph)
        return Network(
            name=plain_path(path).stem,
            model=model,
            layers=layers,
            source=OnnxSource(
                paths={".onnx": path, **dict(zip(_suffixes(), mapped.external, strict=False))},
                release=mapped.release,
            ),
        )


def _suffixes() -> Iterator[str]:
    """Yield the suffixes of files of weights beside the model."""
    yield DATA
    for number in itertools.count(2):
        yield f"{DATA}{number}"


def _model(path: Path, mapped: Mapped) -> ir.Model:
    """Return the checked model with inferred shapes and with its large tensors.

    Raises:
        FormatError: it is no valid ONNX model.
        UnsupportedError: its opset is too early or too late, or shapes cannot be inferred.
    """
    proto = mapped.proto
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    latest = onnx.defs.onnx_opset_version()
    if opset < EARLIEST:
        raise UnsupportedError(
            f"opset {opset} is earlier than {EARLIEST}, the first one that onnxruntime runs",
            hint="export the model with a later opset",
        )
    if opset > latest:
        raise UnsupportedError(
            f"opset {opset} is later than {latest}, the last one that the installed onnx knows",
            hint="update the packages onnx and onnxruntime, or export with an earlier opset",
        )
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
        add_stand_ins(proto, mapped.large)
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"not a valid ONNX model: {_first_line(error)}") from error
    try:
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise UnsupportedError(f"shapes cannot be inferred: {_first_line(error)}") from error
    try:
        model = ir.from_proto(proto)
        _fill(model.graph, mapped)
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"not a valid ONNX model: {_first_line(error)}") from error
    # Version 4 is the first whose initializers need not be inputs as well.
    model.ir_version = max(model.ir_version, 4)
    imports = model.graph.opset_imports
    imports[""] = imports.pop("ai.onnx", imports.get("", OPSET))
    return model


def _check(graph: ir.Graph) -> None:
    """Raise if a graph has no output, or inputs or outputs of unknown rank.

    Raises:
        FormatError: there is no output.
        UnsupportedError: an input or an output is no tensor of known rank.
    """
    if not graph.outputs:
        raise FormatError("the graph has no output")
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            if not isinstance(value.type, ir.TensorType) or value.shape is None:
                raise UnsupportedError(
                    f"{kind} '{value.name}' is no tensor whose number of dimensions is known",
                    hint="export the model with shapes of its inputs",
                )


def _fill(graph: ir.Graph, mapped: Mapped) -> None:
    """Replace the inputs that stand for large tensors by initializers."""
    for value in [value for value in graph.inputs if value.name in mapped.large]:
        graph.inputs.remove(value)
        value.const_value = mapped.large[str(value.name)]
        graph.register_initializer(value)


def _name_nodes(graph: ir.Graph) -> None:
    """Give all nodes distinct names; changes the graph."""
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
    """Set the layer of each node, and the references of each weight; changes the graph."""
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
