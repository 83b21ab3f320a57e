"""What was verified, and which repairs were kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...markup import Table
from ...pruning.result import PruneResult
from ...repair.sequence import repairs_table
from ..blocks import Block, Panel, Paragraph
from ..facts import Check, ReportFacts

__all__ = ["panel"]


def panel(facts: ReportFacts) -> Panel | None:
    """Return the figures of the verification; None where nothing was verified."""
    result = facts.result
    densified = facts.densified
    checks = [*_of(result, "Masked network = dense network")]
    if facts.written is not None:
        checks.append(Check(what="Written files = network in memory", difference=facts.written))
    checks += [*_of(densified, "Model with zeros = model without them"), *facts.checks]
    rows = [(check.what, f"{check.difference:.1e}", check.on) for check in checks]
    if not rows:
        return None
    about = (
        "The largest difference of any output, relative to its largest value. Nothing is written "
        "above 1e-4."
    )
    blocks: list[Block] = [
        Paragraph(about),
        Table(caption="Verification", columns=("What is equal", "Difference", "Measured on"),
              rows=rows, numeric=(1,)),
    ]  # fmt: skip
    if result is not None and result.repairs:
        blocks.append(repairs_table(result.repairs))
    if densified is not None and densified.repairs:
        table = repairs_table(densified.repairs)
        blocks.append(replace(table, caption=f"When the zeros left. {table.caption}"))
    return Panel(name="verification", title="Verification", blocks=blocks)


def _of(result: PruneResult | None, what: str) -> Iterator[Check]:
    if result is not None:
        found = result.verification
        on = f"{found.samples} samples of {found.inputs}"
        yield Check(what=what, difference=found.difference, on=on)
