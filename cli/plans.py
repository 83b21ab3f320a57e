"""Reading a plan that a command was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import PlanError, located

if TYPE_CHECKING:
    from ..core.plan import Plan


def read_plan(path: Path) -> Plan:
    """Return the plan in a file.

    Raises:
        PlanError: it cannot be read or is no plan.
    """
    from ..core.plan import Plan

    with located(file=str(path)):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"cannot be read: {error}") from error
        return Plan.from_yaml(text, str(path))
