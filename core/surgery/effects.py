"""How far the outputs of a network moved, by what is made of them.

Plain outputs count by their squared change, relative to how they differ between samples. Of a
softmax what it reads counts: on data that the network is sure of, probabilities stand still
whatever happens to them. Of a detector its detections count: most numbers of its outputs describe
boxes that nobody will look at. Each box counts by the change of the square roots of its scores
(Hellinger's distance, so that a faint object is something, too), and by how far it moved as a part
of its size, as much as its score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UnsupportedError
from ..ir.network import Head, Network
from ..ir.partial import between
from ..metrics.decode import DECODERS, box_heads
from ..session import Arrays
from .gram import FLOOR
from .operators import Array

__all__ = ["Effect", "effect_on", "watched"]

BEHIND = ("Softmax", "LogSoftmax", "Flatten", "Reshape", "Identity")
"""Operators that are passed over from an output back to what a softmax reads."""

Effect = Callable[[Arrays], float]
"""Outputs that moved, by their names → how far, as a part of what differs between samples."""


def watched(network: Network) -> Network:
    """Return the network with the outputs that effects are measured on."""
    return network if box_heads(network) else _before_softmax(network)


def effect_on(network: Network, heads: Sequence[Head], still: Arrays) -> Effect:
    """Return what measures the change of outputs.

    Args:
        network: as :func:`watched` returned it.
        heads: of the network that find boxes; none for plain outputs.
        still: all outputs before the change.
    """
    names = list(network.outputs)
    if heads:
        try:
            return _Detections(heads, still)
        except (DataError, UnsupportedError):
            pass  # a head that cannot be decoded counts by its numbers
    return lambda moved: float(
        np.mean([_relative(still[name], moved.get(name, still[name])) for name in names])
    )


def _before_softmax(network: Network) -> Network:
    """Return the network with what a softmax reads in place of each output that is one."""
    targets = []
    for value in network.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in BEHIND and node.inputs[0] is not None:
            value, node = node.inputs[0], node.inputs[0].producer()
        targets.append(str(value.name))
    return between(network, network.inputs, targets)


def _relative(still: Array, moved: Array) -> float:
    energy = float(np.square(still - still.mean(axis=0)).sum())
    energy += FLOOR * float(np.square(still).sum())
    change = float(np.square(moved - still).sum())
    return change / energy if energy > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Everything a head says of one sample: n×4 corners and n×classes roots of scores."""

    boxes: Array
    roots: Array


class _Detections:
    """The change of what a detector finds.

    Raises:
        DataError: an output has another shape than its head says.
        UnsupportedError: a head cannot be decoded.
    """

    def __init__(self, heads: Sequence[Head], still: Arrays):
        self._heads, self._still = heads, still
        self._known = {head.output: _decoded(head, still) for head in heads}
        self._spread = sum(_spread(samples) for samples in self._known.values())

    def __call__(self, moved: Arrays) -> float:
        """Return the change of all heads."""
        outputs = {**self._still, **moved}
        change = sum(
            _distance(before, after)
            for head in self._heads
            for before, after in zip(self._known[head.output], _decoded(head, outputs), strict=True)
        )
        return change / self._spread if self._spread > 0 else 0.0


def _decoded(head: Head, outputs: Arrays) -> list[_Boxes]:
    found = []
    for sample in range(len(outputs[head.output])):
        with np.errstate(over="ignore", invalid="ignore"):
            boxes, scores = DECODERS[head.kind](
                outputs, head.settings, head.output, sample, -np.inf
            )
        roots = np.sqrt(np.maximum(scores, 0.0)).astype(np.float32)
        found.append(_Boxes(boxes.astype(np.float32), roots))
    return found


def _spread(samples: Sequence[_Boxes]) -> float:
    """Return how much the scores of a head differ between samples."""
    mean = sum(one.roots for one in samples) / len(samples)
    return float(sum(np.square(one.roots - mean).sum(dtype=np.float64) for one in samples))


def _distance(before: _Boxes, after: _Boxes) -> float:
    scores = np.square(after.roots - before.roots).sum(dtype=np.float64)
    sizes = np.maximum(before.boxes[:, 2:] - before.boxes[:, :2], np.finfo(np.float32).eps)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.square((after.boxes - before.boxes) / np.tile(sizes, 2))
    parts = np.minimum(np.nan_to_num(moved, nan=1.0), 1.0).sum(axis=1)
    best = np.square(before.roots.max(axis=1, initial=0.0))
    return float(scores + (best * parts).sum(dtype=np.float64))
