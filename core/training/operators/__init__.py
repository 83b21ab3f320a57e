"""ONNX operators in PyTorch: one table operator → function, by files of one kind each."""

from .registry import OPERATORS, Call, Operator, operator

__all__ = ["OPERATORS", "Call", "Operator", "operator"]
