"""The table of rules by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from ..labels import Labels
from ..trace import Trace

__all__ = ["RULES", "Rule", "rule"]

Rule = Callable[[Trace, ir.Node], Sequence[Labels]]

RULES: dict[str, Rule] = {}


def rule(*op_types: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators; a second claim on one is a bug and raises."""

    def register(function: Rule) -> Rule:
        for op_type in op_types:
            if op_type in RULES:
                raise RuntimeError(f"two rules for {op_type}: {RULES[op_type]} and {function}")
            RULES[op_type] = function
        return function

    return register
