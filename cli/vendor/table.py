"""Tables as the predecessors print them, ruled with + and -."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ruled"]


def ruled(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table; the first one is its head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    lines = [
        "|".join(["", *(f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)), ""])
        for row in rows
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])
