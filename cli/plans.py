"""Reading a plan that a command was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import PlanError, located

if TYPE_CHECKING:
    from ..core.plan.plan import Plan


def read_plan(path: Path) -> Plan:
    """Return the plan in a file.

    Raises:
        PlanError: it cannot be read or is no plan.
    """
    from ..core.plan.plan import Plan

    with located(file=str(path)):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"cannot be read: {error}") from error
        return Plan.from_yaml(text, str(path))


def read_latencies(path: Path) -> dict[str, float]:
    """Return layer → milliseconds from a plan that holds them, or from a YAML file of just that.

    Raises:
        PlanError: it cannot be read or holds no times.
    """
    import yaml

    with located(file=str(path)):
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"cannot be read: {error}") from error
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
