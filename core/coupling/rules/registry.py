"""The table of rules by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from ..labels import Labels
from ..trace import Trace

__all__ = ["ANY_OPERAND", "RULES", "Rule", "rule"]

Rule = Callable[[Trace, ir.Node], Sequence[Labels]]

RULES: dict[str, Rule] = {}

ANY_OPERAND: set[str] = set()
"""Operators whose rule works where the first input is a parameter and another one is not."""


def rule(*op_types: str, any_operand: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for operators; a second claim on one is a bug and raises."""

    def register(function: Rule) -> Rule:
        for op_type in op_types:
            if op_type in RULES:
                raise RuntimeError(f"two rules for {op_type}: {RULES[op_type]} and {function}")
            RULES[op_type] = function
            if any_operand:
                ANY_OPERAND.add(op_type)
        return function

    return register
