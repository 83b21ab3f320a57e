"""What was asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...markup import Table
from ...words import count_text, percent_text
from ..blocks import Block, Panel, Paragraph
from ..facts import ReportFacts

__all__ = ["panel"]

LEFT_OUT = frozenset(
    [
        "model",
        "digest",
        "proof",
        "repair",
        "block_repair",
        "rate",
        "data",
        "latencies",
        "companions",
        "not_exact",
    ]
)
"""Entries of a plan's provenance that stand elsewhere in a report, or are no settings."""

FULL_SIZE = (
    "the model was written at its full size with zeros; layers, operations and parameters are told "
    "as they are once secateur transform takes the zeros out"
)

NAMES = {"criterion": "Criterion", "allocation": "Allocation", "budget": "The rate counts"}


def panel(facts: ReportFacts) -> Panel:
    """Return the first panel; every report has it."""
    blocks: list[Block] = [Paragraph(text) for text in _came(facts)]
    blocks += [Paragraph(note, caution=True) for note in _notes(facts)]
    rows = list(_asked(facts))
    if rows:
        blocks.append(Table(caption="What was asked for", columns=("Setting", "Value"), rows=rows))
    return Panel(name="overview", title="In short", blocks=blocks)


def _came(facts: ReportFacts) -> Iterator[str]:
    before = facts.described.cost
    if facts.analysis is not None:
        curves = len(facts.analysis.groups)
        yield (
            f"{facts.network.name} has {count_text(before.operations)} operations and "
            f"{count_text(before.parameters)} parameters. The loss of {curves} groups of channels "
            f"was measured on {facts.analysis.samples:,} samples of {facts.analysis.data}."
        )
    if facts.iteration is not None:
        best = facts.iteration.best
        yield (
            f"{len(facts.iteration.rounds)} rounds were made; the last one that passed is "
            + (f"round {best.number}." if best is not None else "none of them.")
        )
    if facts.study is not None:
        found = facts.study
        yield (
            f"{facts.network.name} has {count_text(before.operations)} operations and "
            f"{count_text(before.parameters)} parameters. {len(found.made)} models were made of it "
            f"and measured on {found.validation_samples:,} samples of {found.validation}; "
            f"{len(found.failed)} could not be made."
        )
    after = facts.described_after
    if after is not None and after.cost.operations != before.operations:
        cost = after.cost
        yield (
            f"The model has {count_text(cost.operations)} operations instead of "
            f"{count_text(before.operations)} "
            f"({_change(before.operations, cost.operations)}) and "
            f"{count_text(cost.parameters)} parameters instead of "
            f"{count_text(before.parameters)} ({_change(before.parameters, cost.parameters)})."
        )
    quality = next((row for row in facts.measured if row.unit != "Op"), None)
    if quality is not None and not quality.relative:
        yield (
            f"{quality.item}: {quality.text(quality.original)} before, "
            f"{quality.text(quality.compressed)} after."
        )


def _change(before: float, after: float) -> str:
    return percent_text(after / before - 1) if before else "no change"


def _notes(facts: ReportFacts) -> Sequence[str]:
    own = facts.result.notes if facts.result is not None else ()
    own += facts.densified.notes if facts.densified is not None else ()
    if facts.times is not None and facts.times.missing:
        own = (*own, f"the times of the layers were not measured: {facts.times.missing}")
    if facts.result is not None and facts.result.dense is not None:
        own = (*own, FULL_SIZE)
    return tuple(dict.fromkeys((*facts.notes, *own)))


def _asked(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    if facts.analysis is not None:
        own = "Criterion" if facts.removal is None else "Criterion of the analysis"
        yield own, facts.analysis.criterion
        if facts.analysis.threshold is not None:
            yield "Curves were followed up to a loss of", f"{facts.analysis.threshold:g}"
    plan = facts.removal
    if plan is None:
        return
    provenance: Mapping[str, Any] = plan.provenance
    rate = provenance.get("rate")
    if isinstance(rate, Mapping):
        if "asked" in rate:
            yield "Rate asked for", f"{float(rate['asked']):g}"
        if "achieved" in rate:
            yield "Rate achieved", f"{float(rate['achieved']):.4f}"
    if plan.dropped is not None:
        yield "Residual blocks that left", ", ".join(block.name for block in plan.dropped.blocks)
    data = provenance.get("data")
    if isinstance(data, Mapping):
        yield "Calibration", f"{data.get('samples', '?')} samples of {data.get('name', '?')}"
    for key, value in provenance.items():
        if key not in LEFT_OUT:
            yield NAMES.get(key, key.replace("_", " ").capitalize()), _plain(value)


def _plain(value: Any) -> str:
    """Return a value of a plan in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
