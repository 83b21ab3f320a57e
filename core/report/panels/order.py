"""In which order channels left, and what that was estimated to cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...markup import Table
from ...plan.state import RemovedStep
from ..blocks import Block, Panel, Paragraph
from ..charts import WIDE, chart, ticks
from ..facts import ReportFacts

__all__ = ["panel"]

POINTS = 150
"""Points of the curve of losses at most."""

FIELDS = 1500
"""Fields of the chart of groups at most."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return the order of removal; None where nothing is known of it."""
    history = facts.result.history if facts.result is not None else ()
    if not history:
        return None
    blocks: list[Block] = []
    losses = [step.loss for step in history]
    if all(loss is not None and math.isfinite(loss) for loss in losses):
        blocks.append(_of_losses([loss for loss in losses if loss is not None]))
    else:
        blocks.append(
            Paragraph("The criterion orders channels; it does not estimate what they cost.")
        )
    blocks.append(_of_groups(facts, history))
    return Panel(name="order", title="Order of removal", blocks=blocks)


def _of_losses(losses: Sequence[float]) -> Block:
    total = 0.0
    points = []
    for number, loss in enumerate(losses, 1):
        total += loss
        points.append({"step": number, "loss": total})
    shown = points[:: math.ceil(len(points) / POINTS)]
    shown += [points[-1]] if shown[-1] is not points[-1] else []
    caption = "Estimated loss, summed over the steps of the removal"
    ten = points[:: math.ceil(len(points) / 10)]
    ten += [points[-1]] if ten[-1] is not points[-1] else []
    table = Table(
        caption=caption,
        columns=("Steps", "Sum of the estimated losses"),
        rows=[(f"{point['step']:,}", f"{point['loss']:.4g}") for point in ten],
        numeric=(0, 1),
    )
    return chart(caption, lambda width: _rising(shown, width), table)


def _rising(points: Sequence[Mapping[str, float]], width: int) -> Mapping[str, Any]:
    return {
        "data": {"values": list(points)}, "height": 220, "mark": {"type": "line"},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "Steps of the removal",
                  "axis": {"tickCount": ticks(width)}},
            "y": {"field": "loss", "type": "quantitative", "title": "Sum of estimated losses",
                  "axis": {"format": "~g"}},
        },
    }  # fmt: skip


def _of_groups(facts: ReportFacts, history: Sequence[RemovedStep]) -> Block:
    """Return the chart of when each group lost how many channels."""
    owner = {unit: group.name for unit, group in facts.removed_from.group_of.items()}
    left: dict[str, list[int]] = {}
    for number, step in enumerate(history, 1):
        for unit in step.units:
            if unit in owner:
                left.setdefault(owner[unit], []).append(number)
    order = [group.name for group in facts.removed_from.groups if group.name in left]
    parts = max(5, min(40, FIELDS // max(1, len(order)), len(history)))
    size = math.ceil(len(history) / parts)
    values = []
    for name in order:
        counts: dict[int, int] = {}
        for number in left[name]:
            counts[(number - 1) // size] = counts.get((number - 1) // size, 0) + 1
        largest = max(counts.values())
        values += [
            {"group": name, "from": place * size, "to": min(len(history), (place + 1) * size),
             "dark": round(0.15 + 0.85 * number / largest, 3)}
            for place, number in counts.items()
        ]  # fmt: skip
    caption = "When each group lost channels: the stronger the colour, the more at once"
    sizes = {group.name: len(group.units) for group in facts.removed_from.groups}
    table = Table(
        caption=caption,
        columns=("Group", "Channels", "Removed", "First step", "Last step"),
        rows=[
            (name, f"{sizes[name]}", f"{len(left[name])}", f"{left[name][0]}", f"{left[name][-1]}")
            for name in order
        ],
        numeric=(1, 2, 3, 4),
    )
    return chart(caption, lambda width: _fields(values, width), table)


def _fields(values: Sequence[Mapping[str, Any]], width: int) -> Mapping[str, Any]:
    return {
        "data": {"values": list(values)}, "height": {"step": 16},
        "mark": {"type": "rect"},
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "title": "Steps of the removal",
                  "axis": {"tickCount": ticks(width), "grid": False}},
            "x2": {"field": "to"},
            "y": {"field": "group", "type": "nominal", "sort": None, "title": None,
                  "axis": {"labelLimit": 170 if width == WIDE else 100}},
            "fillOpacity": {"field": "dark", "type": "quantitative", "scale": None,
                            "legend": None},
        },
    }  # fmt: skip
