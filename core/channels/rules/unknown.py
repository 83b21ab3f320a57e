"""Operators without a rule: what they read is fixed, and what they make is fixed too."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Labels
from ..reasons import Kind, Reason
from ..trace import Trace, fix_input, static_shape

__all__ = ["fixed_outputs", "unknown"]


def unknown(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Fix every input and return outputs that are fixed as a whole."""
    return fixed_outputs(state, node, Kind.OPERATOR)


def fixed_outputs(state: Trace, node: ir.Node, kind: Kind) -> Sequence[Labels]:
    """Fix every input for a reason and return outputs that are fixed as a whole."""
    for index in range(len(node.inputs)):
        fix_input(state, node, index, kind)
    label = state.anonymous(Reason(kind, state.subject(node)))
    return [Labels(static_shape(value) or (), None, label) for value in node.outputs]
