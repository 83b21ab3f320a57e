"""secateur: prune Caffe and Darknet networks and write them back in their own format.

    import secateur

    network = secateur.load("yolo.cfg", "yolo.weights")
    pruned = secateur.prune(network, rate=0.3)
    secateur.save(pruned, "pruned/")

Everything here loads its part of the library when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .core.allocation import ALLOCATIONS, Limits, Override
    from .core.analysis import Analysis, analyze, load_analysis, save_analysis
    from .core.channels import Group, Groups, find_groups
    from .core.compare import Comparison, compare
    from .core.cost import NetworkCost, measure_cost
    from .core.criteria import CRITERIA
    from .core.densify import transform
    from .core.describe import Description, describe
    from .core.errors import (
        DataError,
        FormatError,
        PlanError,
        SecateurError,
        UnsupportedError,
        VerificationError,
    )
    from .core.evaluate import evaluate, fidelity, find_objects
    from .core.gate import check_drop
    from .core.ir.network import Network, Preprocess
    from .core.ir.rebuild import expose
    from .core.iterate import Iteration
    from .core.padding import pad_channels
    from .core.plan import Plan
    from .core.prune import apply_plan, prune
    from .core.report import summarize, with_sizes
    from .core.session import Session
    from .core.throughput import best_batch
    from .formats import Saved, load, load_all, save
    from .formats.datasets import open_dataset
    from .formats.measures import named_accuracy
    from .formats.rounds import iterate

__all__ = [
    "ALLOCATIONS",
    "CRITERIA",
    "Analysis",
    "Comparison",
    "DataError",
    "Description",
    "FormatError",
    "Group",
    "Groups",
    "Iteration",
    "Limits",
    "Network",
    "NetworkCost",
    "Override",
    "Plan",
    "PlanError",
    "Preprocess",
    "Saved",
    "SecateurError",
    "Session",
    "UnsupportedError",
    "VerificationError",
    "__version__",
    "analyze",
    "apply_plan",
    "best_batch",
    "check_drop",
    "compare",
    "describe",
    "evaluate",
    "expose",
    "fidelity",
    "find_groups",
    "find_objects",
    "iterate",
    "load",
    "load_all",
    "load_analysis",
    "measure_cost",
    "named_accuracy",
    "open_dataset",
    "pad_channels",
    "prune",
    "save",
    "save_analysis",
    "summarize",
    "transform",
    "with_sizes",
]

_HOMES = {
    ".core.analysis": ("Analysis", "analyze", "load_analysis", "save_analysis"),
    ".core.channels": ("Group", "Groups", "find_groups"),
    ".core.allocation": ("ALLOCATIONS", "Limits", "Override"),
    ".core.compare": ("Comparison", "compare"),
    ".core.cost": ("NetworkCost", "measure_cost"),
    ".core.criteria": ("CRITERIA",),
    ".core.densify": ("transform",),
    ".core.describe": ("Description", "describe"),
    ".core.errors": (
        "DataError",
        "FormatError",
        "PlanError",
        "SecateurError",
        "UnsupportedError",
        "VerificationError",
    ),
    ".core.evaluate": ("evaluate", "fidelity", "find_objects"),
    ".core.gate": ("check_drop",),
    ".core.ir.network": ("Network", "Preprocess"),
    ".core.ir.rebuild": ("expose",),
    ".core.iterate": ("Iteration",),
    ".core.plan": ("Plan",),
    ".core.prune": ("apply_plan", "prune"),
    ".core.report": ("summarize", "with_sizes"),
    ".core.session": ("Session",),
    ".core.throughput": ("best_batch",),
    ".core.padding": ("pad_channels",),
    ".formats": ("Saved", "load", "load_all", "save"),
    ".formats.datasets": ("open_dataset",),
    ".formats.measures": ("named_accuracy",),
    ".formats.rounds": ("iterate",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'secateur' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
