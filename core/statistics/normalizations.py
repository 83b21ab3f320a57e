"""What batch normalisations remember of the images that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.base import first_batch
from ..data.structured.dataset import StructuredDataset
from ..data.usual import USUAL
from ..engine.session import Session
from ..ir.network import Network, Preprocess

__all__ = ["LEAST_VARIANCE", "Stored", "likely_preprocess", "median_mismatch", "stored_statistics"]

LEAST_VARIANCE = 1e-5
"""Added to variances. A channel that never varied would count without limit."""

LOOKED_AT = 16
"""Made images that preprocessing is tried on."""

FITS = 2.0
"""Mismatch of preprocessing that may be right. Made images come to 0.2 on ResNet-20 with its own,
and to hundreds with pixels that are 255 times too large."""

STATED_BY = "the statistics of batch normalisations"
"""Origin of preprocessing that these tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """The statistics of one batch normalisation.

    Args:
        value: name of what it normalises, [N, C, …].
        mean: of each channel [C].
        deviation: standard deviation of each channel [C].
    """

    value: str
    mean: np.ndarray
    deviation: np.ndarray


def stored_statistics(network: Network) -> tuple[Stored, ...]:
    """Return the statistics of all batch normalisations that store some, in the graph's order."""
    found = []
    for node in network.graph:
        if node.op_type != "BatchNormalization":
            continue
        value, _, _, mean, variance = node.inputs[:5]
        if value is None or mean is None or variance is None:
            continue
        if mean.const_value is None or variance.const_value is None:
            continue
        spread = np.maximum(np.array(variance.const_value.numpy(), np.float64), 0.0)
        found.append(
            Stored(
                value=str(value.name),
                mean=np.array(mean.const_value.numpy(), np.float32),
                deviation=np.sqrt(spread + LEAST_VARIANCE).astype(np.float32),
            )
        )
    return tuple(found)


def median_mismatch(values: Sequence[np.ndarray], stored: Sequence[Stored]) -> float:
    """Return how far the statistics of a batch are from the stored ones: the median over layers.

    Of each channel, the squared difference of means and that of standard deviations, in stored
    standard deviations; then the mean over channels.

    Args:
        values: what is normalised, [N, C, …] each.
        stored: the statistics of each.
    """
    terms = []
    for value, own in zip(values, stored, strict=True):
        rows = np.moveaxis(value, 1, 0).reshape(value.shape[1], -1).astype(np.float64)
        spread = np.sqrt(rows.var(axis=1) + LEAST_VARIANCE)
        off = (rows.mean(axis=1) - own.mean) / own.deviation
        terms.append(float(np.mean(off**2 + (spread / own.deviation - 1) ** 2)))
    return float(np.median(terms))


def likely_preprocess(network: Network) -> Preprocess | None:
    """Return the usual preprocessing that batch normalisations expect, for made images.

    What the files say counts. Else each of :data:`..data.usual.USUAL` is tried on made images: the
    values before the normalisations tell a scale that is far off. They do not tell the order of
    channels.

    Args:
        network: the network.

    Returns:
        the preprocessing; None where nobody tells.

    Raises:
        DataError: the network takes no images.
    """
    own = network.preprocess
    if own.origin:
        return own
    stored = stored_statistics(network)
    if not stored:
        return None
    session = Session(network, fetch=tuple(dict.fromkeys(one.value for one in stored)))
    tried = []
    for name, usual in USUAL.items():
        mean = usual.means(own.channels)
        made = replace(
            own, mean=mean, mean_file="", mean_image=None, scale=usual.scale, origin=STATED_BY,
            remark=f"the files of '{network.name}' do not say how images become inputs: made "
            f"images are as {STATED_BY} expect them ({name})",
        )  # fmt: skip
        dataset = StructuredDataset(network, samples=LOOKED_AT, batch=LOOKED_AT, preprocess=made)
        found = session.run(first_batch(dataset).inputs)
        tried.append((median_mismatch([found[one.value] for one in stored], stored), made))
    best, chosen = min(tried, key=lambda pair: pair[0])
    return chosen if best <= FITS else None
