"""What was verified, and which repairs were kept."""

from __future__ import annotations

from ...markup import Table
from ...repair.sequence import repairs_table
from ..blocks import Block, Panel, Paragraph
from ..facts import ReportFacts

__all__ = ["panel"]


def panel(facts: ReportFacts) -> Panel | None:
    """Return the figures of the verification; None where nothing was verified."""
    result = facts.result
    rows: list[tuple[str, str, str]] = []
    if result is not None:
        found = result.verification
        on = f"{found.samples} samples of {found.inputs}"
        rows.append(("Masked network = dense network", f"{found.difference:.1e}", on))
    if facts.written is not None:
        rows.append(("Written files = network in memory", f"{facts.written:.1e}", ""))
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
    return Panel(name="verification", title="Verification", blocks=blocks)
