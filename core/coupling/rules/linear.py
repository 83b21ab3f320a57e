"""Products with a trained matrix: Gemm [out, in] (transB=1) or [in, out], MatMul [in, out]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...ir.network import layer_of
from ...ir.rebuild import node_key
from ...ir.windows import window_of
from ..indices import LabelVector
from ..labels import Labels
from ..reasons import Kind
from ..trace import CostTerm, Trace, fix_input, static_shape
from .attributes import int_attribute, output_shape
from .registry import rule
from .unknown import fixed_outputs, unknown


@rule("Gemm", "MatMul", any_operand=True)
def linear(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return fresh labels for the output features."""
    weight = node.inputs[1]
    if node.op_type == "MatMul" and state.known(node, 0) is None:
        return _from_the_left(state, node)
    if (
        weight is None
        or not state.is_parameter(weight)
        or state.known(node, 0) is None
        or int_attribute(node, "transA", 0)
        or len(static_shape(weight) or ()) != 2
    ):
        return unknown(state, node)
    if not state.is_trained(weight):
        return fixed_outputs(state, node, Kind.MIXED)
    x, shape = state.of(node, 0), output_shape(node)
    rows_out = bool(int_attribute(node, "transB", 0))
    rows, columns = static_shape(weight) or ()
    features, made = (columns, rows) if rows_out else (rows, columns)
    if x.axis == len(x.shape) - 1 and len(x.vector) != features:
        return unknown(state, node)
    incoming = _feature_labels(state, node, x, features)
    out = state.fresh(node, made)
    if rows_out:
        state.use(weight, "weight", out.reshape(-1, 1), incoming.reshape(1, -1))
    else:
        state.use(weight, "weight", out.reshape(1, -1), incoming.reshape(-1, 1))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and bias.shape is not None and bias.shape[-1] != 1:
        state.use(bias, "bias", out)
    positions = math.prod(shape[1:-1])
    state.cost_terms.append(
        CostTerm(
            node_key(node),
            layer_of(node),
            str(weight.name),
            positions,
            out,
            positions if bias is not None or _shifted(node) else 0,
        )
    )
    return [Labels(shape, len(shape) - 1, out)]


def _feature_labels(state: Trace, node: ir.Node, x: Labels, features: int) -> LabelVector:
    if x.axis == len(x.shape) - 1:
        return x.vector
    if x.axis is not None:
        fix_input(state, node, 0, Kind.SPATIAL)
    return np.repeat(x.vector[:1], features)


def _shifted(node: ir.Node) -> bool:
    """Whether the next node, of the same layer, adds a bias."""
    uses = list(node.outputs[0].uses())
    return len(uses) == 1 and (
        uses[0].node.op_type in ("Add", "BatchNormalization")
        and layer_of(node) is not None
        and layer_of(uses[0].node) == layer_of(node)
    )


def _from_the_left(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return fresh labels where a parameter [… out, in] multiplies columns [… in, columns]."""
    weight, x, shape = node.inputs[0], state.of(node, 1), output_shape(node)
    rows = static_shape(weight) if weight is not None else None
    rank = len(x.shape)
    if weight is None or rows is None or len(rows) < 2 or x.axis not in (rank - 2, None):
        return unknown(state, node)
    window = window_of(weight)
    if window is not None and window.free and x.axis is not None:
        state.window(weight, x.vector, window.least)
        return [Labels(shape, x.axis, x.vector)]
    if window is not None:
        return fixed_outputs(state, node, Kind.NEIGHBOURS)
    if not state.is_trained(weight):
        return fixed_outputs(state, node, Kind.MIXED)
    incoming = x.vector if x.axis is not None else np.repeat(x.vector[:1], x.shape[-2])
    out = state.fresh(node, shape[-2])
    state.use(weight, "weight", out.reshape(-1, 1), incoming.reshape(1, -1))
    products = int(np.prod(shape[1:])) * rows[-1]
    shifted = any(
        other.op_type == "Add" and layer_of(other) == layer_of(node)
        for other in state.network.graph
    )
    state.cost_terms.append(
        CostTerm(
            node_key(node),
            layer_of(node),
            str(weight.name),
            products // int(np.prod(rows)),
            out,
            int(np.prod(shape[1:])) // shape[-2] if shifted else 0,
        )
    )
    return [Labels(shape, len(shape) - 2, out)]
