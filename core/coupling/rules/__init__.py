"""Rules: how each ONNX operator moves labels, one file a behaviour.

A rule is a function `(state, node) -> labels of the outputs`, registered for the operators it
serves. An operator without a rule fixes everything it touches. Other packages register rules by
entry points of the group `secateur.rules`.
"""

from .registry import RULES, Rule, rule

__all__ = ["RULES", "Rule", "rule"]
