"""The names of the budgets: what a rate may be a fraction of."""

from __future__ import annotations

from ..errors import PlanError, nearest_hint

__all__ = ["BUDGETS", "CONVOLUTIONS", "LATENCY", "OPERATIONS", "PARAMETERS", "check_budget"]

OPERATIONS, CONVOLUTIONS = "operations", "convolutions"
PARAMETERS, LATENCY = "parameters", "latency"

BUDGETS = {
    OPERATIONS: "2 · multiply-accumulates + bias additions, fully connected layers included",
    CONVOLUTIONS: "operations of convolutions alone, as vendors' pruners count",
    PARAMETERS: "values stored in the files",
    LATENCY: "milliseconds, measured a layer on this machine and shared out over its operations",
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
            hint=nearest_hint(name, BUDGETS, f"known are {', '.join(BUDGETS)}"),
            option="budget",
        )
