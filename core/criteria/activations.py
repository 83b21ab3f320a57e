"""Common parts of the criteria on data: equal batches, and the values that weights read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..data import BATCH_SIZE, Dataset, streamed
from ..data.base import batch_size
from ..data.rebatch import Rebatched
from ..engine.session import Session
from ..errors import DataError
from ..ir.network import Network
from .registry import Scores

__all__ = ["activations_of", "mean_over_values", "streamed_values", "values_read"]

MOVING = frozenset({
    "AveragePool", "Concat", "DepthToSpace", "Dropout", "Flatten", "GlobalAveragePool",
    "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Transpose", "Unsqueeze", "Upsample",
})  # fmt: skip
"""Operators between an activation and its consumer that only move or pool values."""


def values_read(network: Network, groups: Groups) -> tuple[str, ...]:
    """Return the values with removable channels that weights multiply, in order.

    Inputs of depthwise convolutions are left out: they pass their channels on.
    """
    removable = groups.mask(unit for group in groups.groups for unit in group.removable())
    mixing = {u.parameter for u in groups.uses if u.role == "weight" and len(u.labels) > 1}
    found: dict[str, None] = {}
    for node in network.graph:
        if len(node.inputs) < 2 or node.inputs[0] is None or node.inputs[1] is None:
            continue
        name = str(node.inputs[0].name)
        if node.inputs[1].name in mixing and name in groups.values:
            labels = groups.values[name]
            if labels.axis and removable[groups.units[labels.vector]].any():
                found[name] = None
    return tuple(found)


def activations_of(network: Network, groups: Groups, names: Sequence[str]) -> tuple[str, ...]:
    """Return the activations that values are pooled or moved from, in order."""
    makers = {str(value.name): node for node in network.graph for value in node.outputs}
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = list(names)[::-1]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in makers:
            continue
        seen.add(name)
        node = makers[name]
        if node.op_type in MOVING:
            count = None if node.op_type == "Concat" else 1
            waiting.extend(str(v.name) for v in node.inputs[:count][::-1] if v is not None)
        elif groups.values[name].axis:
            found[name] = None
    return tuple(found)


def streamed_values(
    network: Network, names: Sequence[str], data: Dataset, label: str
) -> Iterator[dict[str, np.ndarray]]:
    """Yield inner values of a network for equal batches of data.

    Args:
        network: the network.
        names: outputs of nodes.
        data: inputs; memory does not grow with their number.
        label: name of the job for progress.

    Raises:
        DataError: the data is broken or does not fit the network, or leads to a value that is no
            finite number: no mean of it would tell anything.
    """
    session = Session(network, fetch=names)
    for batch in streamed(Rebatched(data, batch_size(network, BATCH_SIZE)), label):
        values = session.run(batch.inputs)
        for name in names:
            if not np.isfinite(values[name]).all():
                raise DataError(
                    f"'{name}' of '{network.name}' is infinite or no number on the samples",
                    hint="look at the outputs: secateur predict; check --mean and --scale",
                )
        yield values


def mean_over_values(
    network: Network,
    groups: Groups,
    names: Sequence[str],
    data: Dataset,
    measure: Callable[[np.ndarray], np.ndarray],
) -> Scores:
    """Return for each unit the mean of a measure of its elements.

    The mean is taken over samples and positions of each value, then over the values in which the
    unit occurs. It is 0 for a unit that occurs in none.

    Args:
        network: the network.
        groups: its groups.
        names: the values.
        data: inputs.
        measure: a function from a value to an array of the same shape.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    sums = np.zeros((len(names), groups.unit_count))
    counts = np.zeros((len(names), groups.unit_count), dtype=np.int64)
    if not names:
        return np.zeros(groups.unit_count)
    for values in streamed_values(network, names, data, "activations"):
        for row, name in enumerate(names):
            labels = groups.values[name]
            measured = measure(values[name])
            others = tuple(axis for axis in range(measured.ndim) if axis != labels.axis)
            units = groups.units[labels.vector]
            np.add.at(sums[row], units, measured.sum(axis=others, dtype=np.float64))
            np.add.at(counts[row], units, measured.size // len(units))
    occurs: npt.NDArray[np.bool_] = counts > 0
    means = sums / np.maximum(counts, 1)
    mean: Scores = means.sum(axis=0) / np.maximum(occurs.sum(axis=0), 1)
    return mean
