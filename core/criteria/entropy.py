"""Entropy of activations: Luo, Wu, An Entropy-based Pruning Method for CNN Compression, 2017 (arXiv
1706.05791).

Each sample gives one number a channel: the mean of its activation over all positions (global
average pooling). These numbers are counted in :data:`BINS` equal bins between the least and the
largest of the channel. With p_i the part of the samples in bin i,

    score(channel) = −Σ p_i log p_i

A channel that says the same of every sample tells little. The mean is taken over the activations
that consumers read; what they pool or move is looked at before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .activations import activations_of, streamed_values, values_read
from .registry import ScoreContext, Scores, criterion

__all__ = ["entropies"]

BINS = 100
"""Bins of a histogram. The paper names no number; with fewer samples many bins stay empty."""


@criterion(
    "entropy",
    summary="entropy over the samples of each channel's mean",
    source="Luo and Wu, arXiv 1706.05791",
    needs_data=True,
    cost="one pass over the samples",
)
def entropy(context: ScoreContext) -> Scores:
    """Return the entropy of each unit in nats, the mean over its channels in all values.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    network, groups = context.network, context.groups
    names = activations_of(network, groups, values_read(network, groups))
    if not names:
        return np.zeros(groups.unit_count)
    means: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in names}
    for values in streamed_values(network, names, context.calibration, "entropy"):
        for name in names:
            axis = groups.values[name].axis
            assert axis is not None
            moved = np.moveaxis(values[name], axis, 1)
            flat = moved.reshape(*moved.shape[:2], -1)
            means[name].append(flat.mean(axis=2, dtype=np.float64))
    sums, counts = np.zeros(groups.unit_count), np.zeros(groups.unit_count)
    for name in names:
        units = groups.units[groups.values[name].vector]
        np.add.at(sums, units, entropies(np.concatenate(means[name])))
        np.add.at(counts, units, 1)
    return sums / np.maximum(counts, 1)


def entropies(means: npt.NDArray[np.float64], bins: int = BINS) -> npt.NDArray[np.float64]:
    """Return the entropy of every column in nats.

    Args:
        means: one number for each sample and channel, [samples, channels].
        bins: equal bins between the least and the largest number of a column.
    """
    least, spread = means.min(axis=0), np.ptp(means, axis=0)
    places = np.where(spread > 0, (means - least) / np.where(spread > 0, spread, 1.0), 0.0)
    found = np.minimum((places * bins).astype(np.int64), bins - 1)
    counts = np.zeros((bins, means.shape[1]))
    np.add.at(counts, (found, np.arange(means.shape[1])), 1)
    parts = counts / len(means)
    logs = np.log(parts, out=np.zeros_like(parts), where=parts > 0)
    entropy: npt.NDArray[np.float64] = -(parts * logs).sum(axis=0)
    return np.maximum(entropy, 0.0)
