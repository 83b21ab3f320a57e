"""The rules by ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ...registry import Registry
from ..labels import Labels
from ..trace import Trace

__all__ = ["RULES", "Move", "Rule", "rule"]

Move = Callable[[Trace, ir.Node], Sequence[Labels]]
"""Returns the labels of a node's outputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How an operator moves labels.

    Args:
        move: reads the labels of a node's inputs and returns those of its outputs, in their order.
        any_operand: whether it works where the first input is a parameter and another one is not.
        elementwise: whether each element of the output depends on the elements of the operands at
            its own position alone.
    """

    move: Move
    any_operand: bool = False
    elementwise: bool = False


RULES: Registry[Rule] = Registry(
    "rule for operator", package=__name__.rpartition(".")[0], group="secateur.rules"
)


def rule(
    *op_types: str, any_operand: bool = False, elementwise: bool = False
) -> Callable[[Move], Move]:
    """Register a function as the rule of operators.

    Args:
        op_types: names of ONNX operators.
        any_operand: see :class:`Rule`.
        elementwise: likewise.

    Raises:
        RuntimeError: an operator has a rule.
    """

    def register(move: Move) -> Move:
        entry = Rule(move=move, any_operand=any_operand, elementwise=elementwise)
        RULES.add(*op_types, entry=entry)
        return move

    return register
