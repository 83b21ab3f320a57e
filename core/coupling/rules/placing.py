"""Scattering and gathering elements by positions along one axis, and max unpooling."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Labels
from ..trace import Trace
from .attributes import int_attribute, output_shape
from .elementwise import united
from .registry import rule
from .unknown import unknown


@rule("ScatterElements", "GatherElements", any_operand=True)
def along_one_axis(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the united labels of data, positions and updates, unless channels themselves move."""
    shape = output_shape(node)
    axis = int_attribute(node, "axis", 0) % len(shape)
    inputs = [state.known(node, index) for index in range(len(node.inputs))]
    axes = {labels.axis for labels in inputs if labels is not None and labels.axis is not None}
    if len(axes) > 1 or axis in axes:
        return unknown(state, node)
    channels = next(iter(axes), None)
    if channels is not None and any(
        labels is not None and labels.shape[channels] != shape[channels] for labels in inputs
    ):
        return unknown(state, node)
    return united(state, node, shape)


@rule("MaxUnpool")
def unpooling(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Return the united labels of values and positions."""
    x, positions = state.of(node, 0), state.known(node, 1)
    if positions is None or x.axis != positions.axis or x.axis not in (1, None):
        return unknown(state, node)
    if len(node.inputs) > 2:
        return unknown(state, node)  # ONNX's inference ignores the target size
    state.unions.unite(x.vector, positions.vector)
    return [Labels(output_shape(node), x.axis, x.vector)]
