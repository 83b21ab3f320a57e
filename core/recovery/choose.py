"""Choosing blocks, one after another: each time the one that adds least error for what it saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..blocks import Block
from ..plan.steps import SLACK
from ..progress import Progress, silent
from .measure import BlockLoss, FeatureMeter

__all__ = ["Choice", "choose_blocks"]

Cheaper = Callable[[tuple[Block, ...], BlockLoss], bool]
"""Whether something else saves as much as a block at less error, after some blocks have left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The blocks that leave, in the order in which they were chosen.

    Args:
        losses: what each cost, when it was chosen.
        ended: why no further block was chosen; "" where all that were asked for were.
    """

    losses: tuple[BlockLoss, ...]
    ended: str = ""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks."""
        return tuple(loss.block for loss in self.losses)

    @property
    def saved(self) -> float:
        """The part of the network's cost that they save together."""
        return sum(loss.saved for loss in self.losses)


def choose_blocks(
    meter: FeatureMeter,
    blocks: Sequence[Block],
    shares: Mapping[int, float],
    *,
    count: int | None = None,
    rate: float | None = None,
    cheaper: Cheaper | None = None,
    progress: Progress = silent,
) -> Choice:
    """Choose blocks to drop; all are measured anew after each.

    Args:
        meter: measures the error of features.
        blocks: the blocks that may leave.
        shares: position of a layer → its part of the network's cost.
        count: most blocks; None for as many as fit.
        rate: part of the cost that may be saved at most; None for no bound.
        cheaper: asked before each; where something else is cheaper, no block leaves any more.
        progress: told how far the work is.
    """
    chosen: list[BlockLoss] = []
    while count is None or len(chosen) < count:
        gone = tuple(loss.block for loss in chosen)
        saved = sum(loss.saved for loss in chosen)
        left = [block for block in blocks if block not in gone]
        fitting = [
            block for block in left
            if rate is None
            or saved + sum(shares[k] for k in (*block.layers, block.joint)) <= rate + SLACK
        ]  # fmt: skip
        losses = meter.losses(fitting, gone, shares, progress)
        if not losses:
            why = "each of the others saves more than the rate leaves" if left else "none is left"
            return Choice(losses=tuple(chosen), ended=why)
        if cheaper is not None and cheaper(gone, losses[0]):
            return Choice(losses=tuple(chosen), ended="channels are cheaper")
        chosen.append(losses[0])
    return Choice(losses=tuple(chosen))
