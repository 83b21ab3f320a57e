"""The keys of a plan: every one that the program writes or reads, and the lines they stand in.

A key with a typing error would otherwise say nothing, and other channels would leave than meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..errors import PlanError, located, nearest_hint

__all__ = ["GROUP_KEYS", "PLAN_KEYS", "Document", "read_document"]

PLAN_KEYS = (
    "version", "model", "digest", "companions", "criterion", "allocation", "schedule", "rate",
    "threshold", "normalize", "steps", "candidates", "budget", "target", "task", "latencies",
    "engine_steps", "target_latency", "overrides", "data", "preprocess", "exclude", "limits",
    "as_far_as_possible", "proof", "lrn", "not_exact", "repair", "completed", "blocks",
    "block_repair", "dropped", "groups",
)  # fmt: skip
"""Keys of a plan: its version, its groups, and where it comes from."""

GROUP_KEYS = ("name", "layers", "channels", "kept", "rate", "removed")
"""Keys of a group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A plan as it was read.

    Args:
        values: its keys and values.
        lines: the line of each key, from 1.
        group_lines: the line in which each group begins.
    """

    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    group_lines: tuple[int, ...] = ()


def read_document(text: str) -> Document:
    """Return the keys of a plan with their lines.

    Args:
        text: YAML.

    Raises:
        PlanError: the text is not YAML or no plan, or a key is unknown or stands there twice.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        with located(line=mark.line + 1 if mark else None):
            raise PlanError("not valid YAML") from error
    except (RecursionError, ValueError) as error:  # a date that is none, values nested too deep
        raise PlanError("not valid YAML") from error
    if not isinstance(values, dict) or not isinstance(values.get("groups"), list):
        raise PlanError("a plan is a mapping with a list of groups")
    assert isinstance(root, yaml.MappingNode)
    lines = _checked(root, PLAN_KEYS, "a plan")
    groups = next(value for key, value in root.value if key.value == "groups")
    for number, entry in enumerate(groups.value, 1):
        if isinstance(entry, yaml.MappingNode):
            name = next((str(v.value) for k, v in entry.value if k.value == "name"), "")
            with located(item=f"group {name!r}" if name else f"group number {number}"):
                _checked(entry, GROUP_KEYS, "a group")
    starts = tuple(entry.start_mark.line + 1 for entry in groups.value)
    return Document(values=values, lines=lines, group_lines=starts)


def _checked(node: yaml.MappingNode, known: Collection[str], what: str) -> dict[str, int]:
    """Return the line of each key.

    Raises:
        PlanError: a key is unknown, or stands there twice.
    """
    lines: dict[str, int] = {}
    for key, line in _keys(node):
        with located(line=line):
            if key not in known:
                raise PlanError(
                    f"{what} has no key '{key[:60]}'",
                    hint=nearest_hint(key, known, f"it has {', '.join(known)}"),
                )
            if key in lines:
                raise PlanError(f"'{key}' stands there twice", hint="delete one of them")
        lines[key] = line
    return lines


def _keys(node: yaml.MappingNode) -> Iterator[tuple[str, int]]:
    for key, _ in node.value:
        yield str(key.value), key.start_mark.line + 1
