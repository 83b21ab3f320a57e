"""Efficiency against quality: the rounds of an iteration, or what an analysis promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...cost.network_cost import Costs
from ...coupling.indices import UnitMask
from ...markup import Table
from ...pruning.rounds import Iteration, rounds_table
from ...sensitivity.result import Analysis
from ..blocks import Block, Panel, Paragraph
from ..charts import ACCENT, chart
from ..facts import ReportFacts

__all__ = ["panel", "promised"]

LABEL = 24
"""Pixels around points, for the words above them."""

LIMITS = 25
"""Losses of a group that the curve of an analysis is computed for."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return the curve; None where there is none."""
    if facts.iteration is not None and facts.iteration.rounds:
        return _of_rounds(facts, facts.iteration)
    if facts.analysis is not None:
        return _of_analysis(facts, facts.analysis)
    return None


def _of_rounds(facts: ReportFacts, found: Iteration) -> Panel:
    percent = facts.task is not None and facts.task.unit == "%"
    factor = 100.0 if percent else 1.0
    points = [
        {"left": 100 * (1 - entry.achieved), "value": factor * entry.value,
         "round": f"round {entry.number}", "passed": entry.passed}
        for entry in found.rounds
    ]  # fmt: skip
    if found.original_value is not None:
        original = {"value": factor * found.original_value, "round": "original", "passed": True}
        points.insert(0, {"left": 100.0, **original})
    caption = f"{found.metric} of the rounds against the operations that are left"
    unit = " in %" if percent else ""
    blocks: list[Block] = [
        chart(
            caption,
            lambda _: _line(points, "Operations left in %", f"{found.metric}{unit}", "round"),
            rounds_table(found, caption, facts.figure),
        )
    ]
    return Panel(name="curve", title="Efficiency and quality", blocks=blocks)


def _line(points: Sequence[Mapping[str, Any]], x: str, y: str, label: str) -> Mapping[str, Any]:
    room = {"zero": False, **({"padding": LABEL} if label else {})}
    across = {"field": "left", "type": "quantitative", "title": x, "scale": room}
    up = {"field": "value", "type": "quantitative", "title": y, "scale": room}
    at = {"x": across, "y": up}
    marks = {"type": "point", "filled": True, "color": ACCENT, "size": 70, "opacity": 1}
    layers: list[Mapping[str, Any]] = [
        {"mark": {"type": "line"}, "encoding": at},
        {"mark": marks,
         "encoding": {**at, "fillOpacity": {
             "condition": {"test": "datum.passed === false", "value": 0}, "value": 1}}},
    ]  # fmt: skip
    if label:
        text = {"type": "text", "dy": -12, "align": "center"}
        layers.append({"mark": text, "encoding": {**at, "text": {"field": label}}})
    return {"data": {"values": list(points)}, "height": 260, "layer": layers}


def _of_analysis(facts: ReportFacts, analysis: Analysis) -> Panel | None:
    found = promised(facts, analysis)
    if len(found) < 2:
        return None
    percent = facts.task is not None and facts.task.unit == "%"
    factor = 100.0 if percent else 1.0
    points = [{"left": 100 * left, "value": factor * loss} for _, left, loss in found]
    caption = "Operations left against the sum of the losses of all groups"
    table = Table(
        caption=caption,
        columns=("Loss of a group at most", "Operations left", "Sum of the losses"),
        rows=[
            (facts.figure(limit), f"{100 * left:.1f} %", facts.figure(loss))
            for limit, left, loss in found
        ],
        numeric=(0, 1, 2),
    )
    about = (
        "Each group loses as many channels as its own curve allows within a loss. That losses of "
        "groups add up is an assumption: together they may cost more or less, so measure what is "
        "pruned."
    )
    unit = " in %" if percent else ""
    title = f"{analysis.metric}: sum of losses{unit}"
    drawing = chart(caption, lambda _: _line(points, "Operations left in %", title, ""), table)
    return Panel(name="curve", title="Efficiency and quality", blocks=[Paragraph(about), drawing])


def promised(facts: ReportFacts, analysis: Analysis) -> Sequence[tuple[float, float, float]]:
    """Return what curves add up to, for several losses that each group may have.

    Returns:
        the loss of a group at most, the share of operations that is left, the sum of the losses;
        each share once.
    """
    losses = sorted(
        {p.loss for g in analysis.groups for p in g.points if math.isfinite(p.loss) and p.loss > 0}
    )
    if not losses:
        return []
    places = np.unique(np.linspace(0, len(losses) - 1, LIMITS).round().astype(int))
    costs = Costs(facts.network, facts.groups)
    whole = costs.operations()
    found: dict[float, tuple[float, float, float]] = {1.0: (0.0, 1.0, 0.0)}
    for limit in [losses[place] for place in places]:
        removed, total = _within(facts, analysis, limit)
        left = costs.operations(removed) / whole if whole else 1.0
        found.setdefault(round(left, 4), (limit, left, total))
    return list(found.values())


def _within(facts: ReportFacts, analysis: Analysis, limit: float) -> tuple[UnitMask, float]:
    """Return the units that leave where each group may lose so much, and the sum of the losses."""
    units, total = [], 0.0
    for curve in analysis.groups:
        group, point = facts.groups.by_name(curve.name), curve.last_within(limit)
        if group is None or point is None:
            continue
        units += [group.units[place] for place in curve.order[: point.removed]]
        total += point.loss
    return facts.groups.mask(units), total
