"""The figures of both models side by side, with their uncertainty where the data give one."""

from __future__ import annotations

import math

from ...evaluation.metrics.classification import Accuracy
from ...evaluation.summary import SummaryRow
from ...markup import Table
from ...pictures.examples import PairedLabels
from ...words import percent_text
from ..blocks import Block, Panel, Paragraph
from ..facts import ReportFacts

__all__ = ["panel", "wilson"]

SURE = 1.959964
"""Standard deviations of a 95 % interval."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return the table of before and after; None where nothing was measured."""
    if not facts.measured:
        return None
    intervals = [_interval(row, facts) for row in facts.measured]
    known = any(intervals)
    columns: tuple[str, ...] = ("Item", "Before", "After", "Change")
    rows: list[tuple[str, ...]] = [_row(row, facts) for row in facts.measured]
    if known:
        columns += ("95 % interval of the change",)
        rows = [(*row, interval) for row, interval in zip(rows, intervals, strict=True)]
    table = Table(caption="Before and after", columns=columns, rows=rows, numeric=(1, 2, 3, 4))
    blocks: list[Block] = [table]
    if facts.samples is not None:
        blocks.append(Paragraph(f"Measured on {facts.samples:,} samples of {facts.data}."))
    if any(row.item == Accuracy.metric for row in facts.measured) and facts.samples:
        blocks.append(Paragraph("In parentheses: the 95 % interval of an accuracy (Wilson)."))
    paired = facts.examples.paired if facts.examples is not None else None
    if paired is not None:
        low, high = _ends(paired)
        blocks.append(
            Paragraph(
                f"Of {paired.samples:,} labelled samples, {paired.lost} were right before and are "
                f"wrong now, {paired.gained} were wrong before and are right now: a change of "
                f"{100 * paired.change:+.2f} points, with 95 % confidence {low:+.2f} to "
                f"{high:+.2f}."
            )
        )
    return Panel(name="before-after", title="Before and after", blocks=blocks)


def _row(row: SummaryRow, facts: ReportFacts) -> tuple[str, ...]:
    before, after = row.text(row.original), row.text(row.compressed)
    if row.item == Accuracy.metric and facts.samples:
        before += f" ({_range(row.original, facts.samples)})"
        after += f" ({_range(row.compressed, facts.samples)})"
    return row.item, before, after, row.delta_text


def _range(percent: float, samples: int) -> str:
    low, high = wilson(percent / 100, samples)
    return f"{100 * low:.1f}…{100 * high:.1f}"


def _interval(row: SummaryRow, facts: ReportFacts) -> str:
    """Return the interval of a change; "" where it is not known for the samples of the row."""
    if row.interval is not None:
        return "…".join(map(percent_text, row.interval))
    paired = facts.examples.paired if facts.examples is not None else None
    if row.item != Accuracy.metric or paired is None or paired.samples != facts.samples:
        return ""
    low, high = _ends(paired)
    return f"{low:+.2f}…{high:+.2f}"


def _ends(paired: PairedLabels) -> tuple[float, float]:
    """Return the interval of a change of accuracy, in points."""
    low, high = (100 * (paired.change + sign * paired.margin) for sign in (-1, 1))
    return low, high


def wilson(share: float, samples: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    Args:
        share: 0…1.
        samples: how many it is of.

    Source: Wilson, Journal of the American Statistical Association 22 (1927), 209.
    """
    square = SURE**2
    middle = (share + square / (2 * samples)) / (1 + square / samples)
    spread = SURE * math.sqrt(share * (1 - share) / samples + square / (4 * samples**2))
    half = spread / (1 + square / samples)
    return max(0.0, middle - half), min(1.0, middle + half)
