"""Which channels cannot leave, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...coupling import Group, Groups
from ...markup import Table
from ..blocks import Block, Panel, Paragraph
from ..facts import ReportFacts

__all__ = ["panel"]


def panel(facts: ReportFacts) -> Panel | None:
    """Return the groups that are fixed, and what is fixed of others."""
    fixed = [group for group in facts.groups.groups if not group.prunable]
    partly = [
        group for group in facts.groups.groups
        if group.prunable and len(group.removable()) < len(group.units)
    ]  # fmt: skip
    free = len(facts.groups.groups) - len(fixed)
    about = f"{free} of {len(facts.groups.groups)} groups of channels can be pruned."
    blocks: list[Block] = [Paragraph(about)]
    if fixed:
        blocks.append(_fixed(fixed))
    if partly:
        blocks.append(
            Table(
                caption="Groups of which a part is fixed",
                columns=("Group", "Channels", "Fixed", "Why"),
                rows=[
                    (group.name, f"{len(group.units)}",
                     f"{len(group.units) - len(group.removable())}", _why(group, facts.groups))
                    for group in partly
                ],
                numeric=(1, 2),
            )
        )  # fmt: skip
    return Panel(name="groups", title="Why channels are fixed", blocks=blocks)


def _fixed(groups: Sequence[Group]) -> Table:
    """Return why groups are fixed, and what would free them where something would."""
    told = [
        (group.name, f"{len(group.units)}", str(group.reason or ""),
         (group.reason.remedy or "") if group.reason is not None else "")
        for group in groups
    ]  # fmt: skip
    freed = any(row[-1] for row in told)
    columns = ("Group", "Channels", "Why", *(["What would free them"] if freed else []))
    rows = [row[: len(columns)] for row in told]
    return Table(caption="Groups that are fixed", columns=columns, rows=rows, numeric=(1,))


def _why(group: Group, groups: Groups) -> str:
    """Return the reasons of the fixed channels, the most frequent first."""
    free = set(group.removable())
    counts = Counter(
        str(groups.reasons[unit])
        for unit in group.units
        if unit not in free and unit in groups.reasons
    )
    return "; ".join(f"{reason} ({count})" for reason, count in counts.most_common(3))
