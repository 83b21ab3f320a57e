"""Allocation: how many channels leave each group, one file each, in one registry."""

from __future__ import annotations

import importlib
import pkgutil

from ..plan.limits import NO_LIMITS, Limits
from ..plan.steps import Order, Step, cut
from .overrides import Override
from .registry import ALLOCATIONS, Allocation, Request, find_allocation
from .uniform import uniform

__all__ = [
    "ALLOCATIONS",
    "NO_LIMITS",
    "Allocation",
    "Limits",
    "Order",
    "Override",
    "Request",
    "Step",
    "cut",
    "find_allocation",
    "uniform",
]

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
    importlib.import_module(f"{__name__}.{_module.name}")
