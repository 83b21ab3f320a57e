"""The value that holds the scores of an output, before a softmax makes shares of them."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["PASSING", "logits_of"]

PASSING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
"""Operators that hand values on as they are."""


def logits_of(output: ir.Value) -> str:
    """Return the name of the value before an output's softmax or argmax, or of the output."""
    value = output
    while (node := value.producer()) is not None and node.op_type in PASSING:
        before = node.inputs[0]
        if before is None or before.is_graph_input():
            break
        value = before
    node = value.producer()
    if node is None or node.op_type not in ("Softmax", "LogSoftmax", "ArgMax"):
        return str(output.name)
    before = node.inputs[0]
    assert before is not None
    return str(before.name)
