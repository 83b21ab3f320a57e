"""Reading plans, and what they hold, from files."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path

import yaml

from ..cost.layer_times import LayerTime, Point
from ..cost.times_file import read_times
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


def load_latencies(path: str | PathLike[str]) -> dict[str, LayerTime]:
    """Return the times of layers in a file.

    Args:
        path: a plan that holds them, a YAML file of `layer: milliseconds`, or a table
            (`layer,inputs,outputs,milliseconds`) with a line for each number of channels at which a
            layer was timed.

    Raises:
        PlanError: it cannot be read or holds no times; it names the line of a table.
    """
    with located(file=str(path)):
        if str(path).lower().endswith(".csv"):
            return read_times(_text(Path(path)))
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
                "holds no latencies",
                hint="layer: milliseconds, a plan of --budget latency, or times.csv",
            )
        return {str(name): _time(name, value) for name, value in found.items()}


def _time(name: object, value: object) -> LayerTime:
    """Return the time of a layer: a number, or a list of [inputs, outputs, milliseconds].

    Raises:
        PlanError: it is neither.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if number and value >= 0:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, list) and value and all(map(_is_point, value)):
        return tuple(Point(int(one[0]), int(one[1]), float(one[2])) for one in value)
    raise PlanError(f"the latency of '{name}' must be milliseconds, got {value!r}")


def _is_point(entry: object) -> bool:
    if not isinstance(entry, list) or len(entry) != 3:
        return False
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in entry):
        return False
    *counts, time = entry
    return all(isinstance(one, int) and one > 0 for one in counts) and 0 < time < math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot be read: {error}") from error
