"""Which layers make the boxes of a detector, and how often each of their positions counts.

Nearly all of a detector's boxes hold nothing. A fit to all of them alike pulls the few others
toward nothing, and those are what the detector is for. Where box b of an anchor has objectness p_b,
each of its numbers counts

    ω_b = 1 + p_b / mean p

times, so that the boxes that hold something count as much as all boxes together, however rare they
are. For a score p the curvature of the Kullback-Leibler divergence is p (1 − p), about p where p is
small, as everywhere but in the few; the 1 keeps what is nothing at nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..evaluation.metrics.confidence import confidence, has_confidence
from ..ir.heads import GridHead
from ..ir.network import Network, shape_of
from ..statistics.operators import Array

__all__ = ["box_heads_of", "counted", "counts"]

KEEPING = frozenset({
    "Add", "BatchNormalization", "Cast", "Concat", "Identity", "Mul", "Reshape", "Sigmoid",
    "Softmax", "Split", "Transpose", "Where",
})  # fmt: skip
"""Operators that stand between a layer and a head; none of those that files have there mixes boxes
or gives them another order."""


def box_heads_of(network: Network, layers: Sequence[str]) -> dict[str, GridHead]:
    """Return the heads whose boxes a single layer makes, by the name of the layer's output.

    Args:
        network: a network.
        layers: the outputs of its layers.
    """
    values, known = network.values(), set(layers)
    found = {}
    for head in network.heads:
        if not has_confidence(head) or head.output not in network.outputs:
            continue
        made: set[str] = set()
        waiting = [values[head.output]]
        while waiting:
            value = waiting.pop()
            node, name = value.producer(), str(value.name)
            if name in known:
                made.add(name)
            elif node is not None and node.op_type in KEEPING:
                waiting += [v for v in node.inputs if v is not None and v.const_value is None]
            elif value.const_value is None:
                made.add("")  # something else takes part
        if len(made) == 1 and "" not in made:
            (name,) = made
            if shape_of(values[name])[1:] == _boxes(head, network):
                found[name] = head
    return found


def _boxes(head: GridHead, network: Network) -> tuple[int | str, ...]:
    """Return channels, height and width of what a head gives."""
    _, *sizes = network.outputs[head.output]
    return (*sizes[2:], *sizes[:2]) if head.channels_last else tuple(sizes)


def counts(head: GridHead, outputs: Sequence[np.ndarray]) -> list[Array]:
    """Return how often each position counts, N×anchors×H×W float32, one array a batch.

    Args:
        head: one of :func:`box_heads_of`.
        outputs: what the head gave, one array a batch.
    """
    sure = [confidence(head, output) for output in outputs]
    samples = sum(len(part) for part in sure)
    cells = sure[0][0, 0].size
    total = sum(part.sum(axis=(0, 2, 3), dtype=np.float64) for part in sure)
    mean = (total / (samples * cells))[:, None, None]
    return [counted(1, part, mean).astype(np.float32) for part in sure]


def counted(alike: Array | float, by_confidence: Array, mean: Array) -> Array:
    """Return what counts ω times, for anything that is summed up over boxes.

    Args:
        alike: with each box counted once.
        by_confidence: with each counted p times.
        mean: of p, one an anchor, in sizes that broadcast.
    """
    found: Array = alike + by_confidence / np.maximum(mean, np.finfo(np.float32).tiny)
    return found
