"""Operators without a rule: their inputs and outputs are fixed."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ...ir.subgraphs import captured
from ..labels import Labels
from ..reasons import Kind, Reason
from ..trace import Trace, static_shape

__all__ = ["fixed_outputs", "unknown"]


def unknown(state: Trace, node: ir.Node) -> Sequence[Labels]:
    """Fix every input, and return one fixed label for each output."""
    return fixed_outputs(state, node, Kind.OPERATOR)


def fixed_outputs(state: Trace, node: ir.Node, kind: Kind) -> Sequence[Labels]:
    """Fix every input for a reason, and return one fixed label for each output."""
    reason = Reason(kind, state.subject(node))
    read = [str(value.name) for value in node.inputs if value is not None] + captured(node)
    for name in read:
        if name in state.labels:
            state.fix(state.labels[name].vector, reason)
        else:
            state.whole.setdefault(name, reason)
    label = state.anonymous(reason)
    return [Labels(static_shape(value) or (), None, label) for value in node.outputs]
