"""The steps of a pipeline: what was asked of each, what it came to, and all models side by side."""

from __future__ import annotations

from ...markup import Table
from ...words import time_text
from ..blocks import Block, Panel
from ..facts import ReportFacts

__all__ = ["panel"]


def panel(facts: ReportFacts) -> Panel | None:
    """Return the steps; None where there is no pipeline."""
    if not facts.steps:
        return None
    blocks: list[Block] = [
        Table(
            caption="The steps, in their order",
            columns=("Step", "What it came to", "Time"),
            rows=[(step.name, step.came, time_text(step.seconds)) for step in facts.steps],
            numeric=(2,),
        )
    ]
    asked = [
        (f"{step.name}: {key}", value) for step in facts.steps for key, value in step.asked.items()
    ]
    if asked:
        about = "What the pipeline file asks of them; all else is as usual"
        blocks.append(Table(caption=about, columns=("Setting", "Value"), rows=asked))
    if facts.models is not None:
        blocks.append(facts.models)
    return Panel(name="steps", title="The steps", blocks=blocks)
