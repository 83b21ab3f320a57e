"""Reading plans, and what they hold, from files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import yaml

from ..errors import PlanError, located
from .plan import Plan

__all__ = ["load_latencies", "load_plan"]


def load_plan(path: str | PathLike[str]) -> Plan:
    """Return the plan in a file.

    Raises:
        PlanError: it cannot be read or is no plan.
    """
    with located(file=str(path)):
        return Plan.from_yaml(_text(Path(path)), str(path))


def load_latencies(path: str | PathLike[str]) -> dict[str, float]:
    """Return layer → milliseconds from a plan that holds them, or from a YAML file of just that.

    Raises:
        PlanError: it cannot be read or holds no times.
    """
    with located(file=str(path)):
        try:
            found = yaml.safe_load(_text(Path(path)))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            with located(line=mark.line + 1 if mark else None):
                raise PlanError("not valid YAML") from error
        if isinstance(found, dict) and "groups" in found:
            found = found.get("latencies")
        if not isinstance(found, dict) or not found:
            raise PlanError(
                "holds no latencies", hint="layer: milliseconds, or a plan of --budget latency"
            )
        for name, value in found.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
                raise PlanError(f"the latency of '{name}' must be milliseconds, got {value!r}")
        return {str(name): float(value) for name, value in found.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot be read: {error}") from error
