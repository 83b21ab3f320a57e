"""How fine-tuning went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...finetune.result import FinetuneResult, history_table
from ..blocks import Block, Panel, Paragraph
from ..charts import SERIES, chart
from ..facts import ReportFacts

__all__ = ["panel"]


def panel(facts: ReportFacts) -> Panel | None:
    """Return the course of the training; None where nothing was trained."""
    tuned = facts.tuned
    if tuned is None:
        return None
    about = (
        f"{tuned.steps:,} updates of {tuned.batch} samples, {tuned.samples:,} samples were trained "
        f"on, {tuned.held_out:,} held out. The model is that of step {tuned.best.step:,}."
    )
    blocks: list[Block] = [Paragraph(about)]
    blocks += [Paragraph(note, caution=True) for note in tuned.notes]
    caption = "Losses during training"
    blocks.append(
        chart(caption, lambda _: _losses(tuned), history_table(tuned, caption, facts.figure))
    )
    if any(entry.value is not None for entry in tuned.history):
        caption = f"{tuned.metric} on the validation data"
        blocks.append(
            chart(caption, lambda _: _values(tuned), history_table(tuned, caption, facts.figure))
        )
    return Panel(name="training", title="Training", blocks=blocks)


def _losses(tuned: FinetuneResult) -> Mapping[str, Any]:
    points = [
        {"step": entry.step, "loss": loss, "of": of}
        for entry in tuned.history
        for of, loss in (("training", entry.loss), ("held out", entry.held_out))
        if loss is not None
    ]
    return {
        "data": {"values": points}, "height": 240,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "Step"},
            "y": {"field": "loss", "type": "quantitative", "title": "Loss",
                  "scale": {"zero": False}},
            "color": {"field": "of", "type": "nominal", "title": None,
                      "scale": {"domain": ["training", "held out"], "range": list(SERIES[:2])},
                      "legend": {"orient": "top"}},
        },
    }  # fmt: skip


def _values(tuned: FinetuneResult) -> Mapping[str, Any]:
    points = [{"step": e.step, "value": e.value} for e in tuned.history if e.value is not None]
    return {
        "data": {"values": points}, "height": 200,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "Step"},
            "y": {"field": "value", "type": "quantitative", "title": tuned.metric,
                  "scale": {"zero": False}},
        },
    }  # fmt: skip
