"""What each group alone costs: the curves of an analysis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...sensitivity.result import Analysis, curves_table, spread_rates
from ..blocks import Block, Panel, Paragraph
from ..charts import ACCENT, SERIES, WIDE, chart
from ..facts import ReportFacts

__all__ = ["panel"]

RATES = 12
"""So many rates a table or a chart of many groups has at most."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return the curves; None without an analysis."""
    analysis = facts.analysis
    if analysis is None or not analysis.groups:
        return None
    figure = ""
    if analysis.original_value is not None:
        figure = f" The original has {facts.figure(analysis.original_value)}."
    about = (
        f"{analysis.metric}: what is lost where one group alone loses channels, measured on "
        f"{analysis.samples:,} samples of {analysis.data}. Nothing is repaired.{figure}"
    )
    blocks: list[Block] = [Paragraph(about)]
    blocks += [Paragraph(note, caution=True) for note in analysis.notes]
    rates = spread_rates(analysis, RATES)
    few = len(analysis.groups) <= len(SERIES)
    caption = f"{analysis.metric}: loss by the share of a group's channels that left"
    factor = 100.0 if facts.task is not None and facts.task.unit == "%" else 1.0
    table = curves_table(analysis, rates, caption, facts.figure)
    if few:
        blocks.append(chart(caption, lambda width: _lines(analysis, factor, width), table))
    else:
        blocks.append(
            Paragraph(
                "The stronger the colour of a field, the larger the loss, by its square root."
            )
        )
        blocks.append(chart(caption, lambda width: _fields(analysis, rates, width), table))
    return Panel(name="sensitivity", title="Sensitivity", blocks=blocks)


def _lines(analysis: Analysis, factor: float, width: int) -> Mapping[str, Any]:
    points = [
        {"group": group.name, "rate": point.rate, "loss": factor * point.loss}
        for group in analysis.groups
        for point in group.points
        if math.isfinite(point.loss)
    ]
    names = [group.name for group in analysis.groups]
    unit = " in points" if factor != 1 else ""
    return {
        "data": {"values": points}, "height": 300,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "rate", "type": "quantitative", "title": "Share of the channels"},
            "y": {"field": "loss", "type": "quantitative", "title": f"Loss{unit}"},
            "color": {"field": "group", "type": "nominal", "title": None,
                      "scale": {"domain": names, "range": list(SERIES)},
                      "legend": {"orient": "right" if width == WIDE else "top", "columns": 2
                                 if width != WIDE else 1}},
        },
    }  # fmt: skip


def _fields(analysis: Analysis, rates: Sequence[float], width: int) -> Mapping[str, Any]:
    finite = [p.loss for g in analysis.groups for p in g.points if math.isfinite(p.loss)]
    largest = max([0.0, *finite]) or 1.0
    values = [
        {"group": group.name, "rate": f"{rate:g}", "dark": _dark(losses[rate], largest)}
        for group in analysis.groups
        for losses in (group.losses,)
        for rate in rates
        if rate in losses
    ]
    return {
        "data": {"values": values}, "height": {"step": 16},
        "mark": {"type": "rect", "color": ACCENT},
        "encoding": {
            "x": {"field": "rate", "type": "ordinal", "sort": None,
                  "title": "Share of the channels",
                  "axis": {"labelAngle": 0, "labelOverlap": True}},
            "y": {"field": "group", "type": "nominal", "sort": None, "title": None,
                  "axis": {"labelLimit": 170 if width == WIDE else 100}},
            "fillOpacity": {"field": "dark", "type": "quantitative", "scale": None,
                            "legend": None},
        },
    }  # fmt: skip


def _dark(loss: float, largest: float) -> float:
    """Return how dark a field is, 0.04…1: the root keeps small losses visible."""
    share = math.sqrt(max(0.0, loss) / largest) if math.isfinite(loss) else 1.0
    return round(0.04 + 0.96 * min(1.0, share), 3)
