"""The names of the budgets: what a rate may be a fraction of."""

from __future__ import annotations

from ..errors import PlanError, names_hint

__all__ = [
    "BUDGETS",
    "CONVOLUTIONS",
    "LATENCY",
    "OPERATIONS",
    "PARAMETERS",
    "TARGET",
    "check_budget",
]

OPERATIONS, CONVOLUTIONS = "operations", "convolutions"
PARAMETERS, LATENCY, TARGET = "parameters", "latency", "target"

BUDGETS = {
    OPERATIONS: "2 · multiply-accumulates + bias additions, fully connected layers included",
    CONVOLUTIONS: "operations of convolutions alone, as vendors' pruners count",
    PARAMETERS: "values stored in the files",
    LATENCY: "milliseconds of the layers, measured on this machine unless --latencies has them",
    TARGET: "operations with channels rounded up to the blocks of --target",
}
"""What a rate may be a fraction of."""


def check_budget(name: str) -> None:
    """Raise where there is no budget of that name.

    Raises:
        PlanError: it names the known ones.
    """
    if name not in BUDGETS:
        raise PlanError(
            f"unknown budget '{name}'",
            hint=names_hint(name, BUDGETS),
            option="budget",
        )
