"""Criteria: which channels matter, one file each, in one registry."""

from __future__ import annotations

import importlib
import pkgutil

from .registry import CRITERIA, Criterion, find_criterion

__all__ = ["CRITERIA", "Criterion", "find_criterion"]

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
    importlib.import_module(f"{__name__}.{_module.name}")
