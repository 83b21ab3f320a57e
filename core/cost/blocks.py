"""What a layer costs an engine that computes channels in blocks: a function of two numbers of
channels, which rises in steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..coupling.indices import LabelMask, LabelVector

__all__ = ["LayerBlocks", "blocks_of", "layer_blocks"]

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerBlocks:
    """A multiplying layer, as an engine with blocks sees it.

    cost = `each` · Σ over groups of ⌈inputs / ICP⌉ · ICP · ⌈outputs / OCP⌉ · OCP. A depthwise layer
    multiplies no channel with another: its cost is `each` · ⌈channels / OCP⌉ · OCP.

    Args:
        out: labels of the outputs of each group, [groups, outputs].
        into: labels of the inputs of each group, [groups, inputs]; None where their number does
            not change: it is `read` then.
        read: inputs of each group where `into` is None.
        each: operations of one pair of input and output: 2 · kernel · positions.
        block_in: ICP, the inputs that are computed together.
        block_out: OCP, the outputs that are computed together.
        depthwise: whether each output reads one channel of its own.
    """

    out: LabelVector = field(repr=False)
    into: LabelVector | None = field(repr=False)
    read: int = 1
    each: float
    block_in: int
    block_out: int
    depthwise: bool = False

    def cost(self, outputs: Counts, inputs: Counts) -> npt.NDArray[np.float64]:
        """Return the cost for numbers of channels.

        Args:
            outputs: outputs of each group, [..., groups].
            inputs: inputs of each group, [..., groups].
        """
        made = _up(outputs, self.block_out)
        if self.depthwise:
            return np.asarray(self.each * made.sum(axis=-1), np.float64)
        pairs = (made * _up(inputs, self.block_in)).sum(axis=-1)
        living = (outputs > 0) & (inputs > 0)
        narrow = (inputs <= 1) & ((outputs <= 1) | (living.sum(axis=-1, keepdims=True) > 1))
        alone = narrow.all(axis=-1)
        lone = _up((outputs * living).sum(axis=-1), self.block_out)
        found: npt.NDArray[np.float64] = self.each * np.where(alone, lone, pairs)
        return found

    def of(self, surviving: LabelMask | None) -> float:
        """Return the cost where some labels survive, a mask over labels; None for all."""
        out = np.ones(self.out.shape, np.bool_) if surviving is None else surviving[self.out]
        outputs = out.sum(axis=1)
        if self.into is None:
            inputs = self.read * (outputs > 0)
        elif surviving is None:
            inputs = np.full(len(self.into), self.into.shape[1])
        else:
            inputs = surviving[self.into].sum(axis=1)
        return float(self.cost(outputs, inputs))


def blocks_of(
    outputs: Counts, inputs: Counts, groups: int, blocks: tuple[int, int], *, depthwise: bool
) -> npt.NDArray[np.float64]:
    """Return pairs of channels in whole blocks for numbers of channels [...], as a layer pays them.

    Args:
        outputs: of the layer in all, [...].
        inputs: likewise.
        groups: in which it convolves; their sizes are equal.
        blocks: channels computed together, of inputs and of outputs.
        depthwise: whether each output reads one channel of its own.
    """
    block_in, block_out = blocks
    if depthwise:
        return np.asarray(_up(outputs, block_out), np.float64)
    each = _up(-(-outputs // groups), block_out) * _up(-(-inputs // groups), block_in)
    return np.asarray(groups * each, np.float64)


def layer_blocks(
    labels: tuple[LabelVector, ...],
    out: LabelVector,
    *,
    size: int,
    groups: int,
    transposed: bool,
    work: float,
    blocks: tuple[int, int],
) -> LayerBlocks:
    """Return a layer as an engine with blocks sees it.

    Args:
        labels: of its weight: those that it produces, and those that it consumes if there are any.
        out: labels of its outputs, [outputs].
        size: elements of the weight.
        groups: in which it convolves.
        transposed: whether it is a transposed convolution, whose weight begins with the inputs.
        work: operations for one element of the weight.
        blocks: channels computed together, of inputs and of outputs.
    """
    made = out.reshape(groups, -1)
    into = _inputs(labels, len(out), groups, transposed)
    read = into.shape[1] if into is not None else 1
    pairs = len(out) * read
    depthwise = into is None and groups > 1 and size % len(out) == 0 and made.shape[1] == 1
    if into is None and groups == 1:
        read, pairs = max(1, size // max(1, len(out))), size
    return LayerBlocks(
        out=out.reshape(1, -1) if depthwise else made,
        into=into,
        read=read,
        each=work * size / max(1, pairs),
        block_in=blocks[0],
        block_out=blocks[1],
        depthwise=depthwise,
    )


def _inputs(
    labels: tuple[LabelVector, ...], outputs: int, groups: int, transposed: bool
) -> LabelVector | None:
    """Return the labels of the inputs of each group, [groups, inputs]; None if there are none."""
    if len(labels) < 2:
        return None
    found = labels[1]
    if groups == 1:
        return found.reshape(1, -1)
    if transposed:
        return found.reshape(groups, -1)
    return found.reshape(outputs, -1)[:: outputs // groups]


def _up(counts: Counts, block: int) -> Counts:
    """Return numbers rounded up to whole blocks."""
    return -(-counts // block) * block
