"""Rules: how each ONNX operator moves labels, one file a behaviour.

A rule is a function `(state, node) -> labels of the outputs`, registered for the operators it
serves. An operator without a rule fixes everything it touches.
"""

from __future__ import annotations

import importlib
import pkgutil

from .registry import ANY_OPERAND, RULES, Rule, rule

__all__ = ["ANY_OPERAND", "RULES", "Rule", "rule"]

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
    importlib.import_module(f"{__name__}.{_module.name}")
