"""ONNX models from a few lines of ONNX's own text form, with seeded weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

Shape = Sequence[int]


def model(
    body: str,
    weights: Mapping[str, Shape],
    constants: Mapping[str, object] | None = None,
    *,
    opset: int = 18,
    inputs: str = "float[N,4,8,8] x",
    outputs: str = "float[] y",
    ir_version: int = 8,
    domains: str = "",
    seed: int = 0,
) -> onnx.ModelProto:
    """Return a model of the nodes in `body`.

    Args:
        body: nodes, one a line, in ONNX's text form.
        weights: name → shape of float32 initializers; those called `var…` are positive.
        constants: name → values of further initializers, with their NumPy types.
        opset: version of the operators.
        inputs: the graph's inputs in text form.
        outputs: the graph's outputs in text form; shapes are inferred, or have four free sizes.
        ir_version: version of the file.
        domains: further imports in text form, each led by a comma.
        seed: of the weights.
    """
    random = np.random.default_rng(seed)
    proto = onnx.parser.parse_model(
        f'<ir_version: {ir_version}, opset_import: ["": {opset}{domains}]>\n'
        f"net ({inputs}) => ({outputs}) {{\n{body}\n}}"
    )
    for name, shape in weights.items():
        array = random.normal(size=shape).astype(np.float32)
        array = np.abs(array) + 0.5 if name.startswith("var") else array
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for name, values in (constants or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph.output
    for output, found in zip(proto.graph.output, inferred, strict=True):
        output.CopyFrom(found)
        if not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension()] * 4)
    return proto
