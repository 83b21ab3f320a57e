"""Convolutions: consume the labels of their input channels and produce fresh ones.

Weights: Conv [out, in/group, kernel…], ConvTranspose [in, out/group, kernel…].
A depthwise convolution (one input channel a group) passes its labels through. With a multiplier m
each label appears m times, since an input channel and its m outputs are removed together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...ir.network import blob_refs, layer_of
from ...ir.rebuild import node_key
from ..indices import LabelVector
from ..labels import Labels
from ..reasons import Kind
from ..trace import CostTerm, Trace, fix_input, static_shape
from .attributes import int_attribute, output_shape
from .registry import rule
from .unknown import fixed_outputs, unknown


@rule("Conv", "ConvTranspose")
def convolution(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return fresh labels for the output channels, or the input's where depthwise."""
    transposed = node.op_type == "ConvTranspose"
    x, weight = state.of(node, 0), node.inputs[1]
    if weight is None or not state.is_parameter(weight):
        return unknown(state, node)
    shape, weight_shape = output_shape(node), static_shape(weight)
    assert weight_shape is not None
    group = int_attribute(node, "group", 1)
    # From the weight, since a size of the value may be symbolic.
    channels, made = weight_shape[1] * group, weight_shape[0]
    if transposed:
        channels, made = weight_shape[0], weight_shape[1] * group
    if x.axis == 1 and len(x.vector) != channels:
        return unknown(state, node)
    depthwise = group == channels and group > 1
    if not depthwise and not state.is_trained(weight):
        return fixed_outputs(state, node, Kind.MIXED)
    incoming = _channel_labels(state, node, x, channels)
    spatial = (1,) * (len(weight_shape) - 2)
    if depthwise:
        out = np.repeat(incoming, made // group)
        state.attribute(node, "group", incoming)
        per_weight = incoming if transposed else out
        state.use(weight, "weight", per_weight.reshape(-1, 1, *spatial))
    else:
        out = state.fresh(node, made)
        into, from_ = incoming.reshape(group, -1), out.reshape(group, -1)
        state.balance(into, node)
        state.balance(from_, node)
        if transposed:
            produced = np.repeat(from_, into.shape[1], axis=0)
            state.use(
                weight,
                "weight",
                produced.reshape(channels, -1, *spatial),
                incoming.reshape(-1, 1, *spatial),
            )
        else:
            consumed = np.repeat(into, from_.shape[1] if group > 1 else 1, axis=0)
            state.use(
                weight,
                "weight",
                out.reshape(-1, 1, *spatial),
                consumed.reshape(-1, channels // group, *spatial),
            )
    if len(node.inputs) > 2:
        state.use(node.inputs[2], "bias", out)
    _weigh(state, node, out, x.shape if transposed else shape, shape)
    return [Labels(shape, 1, out)]


def _channel_labels(state: Trace, node: ir.Node, x: Labels, channels: int) -> LabelVector:
    """Return one label for each input channel; fix the labels if they lie along another axis."""
    if x.axis == 1:
        return x.vector
    if x.axis is not None:
        fix_input(state, node, 0, Kind.SPATIAL)
    return np.repeat(x.vector[:1], channels)


def _weigh(
    state: Trace, node: ir.Node, out: LabelVector, counted: Sequence[int], shape: Sequence[int]
) -> None:
    weight = node.inputs[1]
    assert weight is not None
    if weight.const_value is not None and not blob_refs(weight):
        return  # a constant: it moves data and stores nothing
    positions = math.prod(counted[2:])
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    bias_positions = math.prod(shape[2:]) if has_bias or _normalized(node) else 0
    state.cost_terms.append(
        CostTerm(node_key(node), layer_of(node), str(weight.name), positions, out, bias_positions)
    )


def _normalized(node: ir.Node) -> bool:
    """Whether the same layer normalises the output; the shift of the normalisation is its bias."""
    uses = list(node.outputs[0].uses())
    return len(uses) == 1 and (
        uses[0].node.op_type == "BatchNormalization"
        and layer_of(node) is not None
        and layer_of(uses[0].node) == layer_of(node)
    )
