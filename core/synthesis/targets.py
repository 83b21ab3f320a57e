"""What batch normalisations remember of the images that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedError
from ..ir.network import Network
from ..training.framework import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Target", "mismatch", "targets_of"]

LEAST_VARIANCE = 1e-5
"""Added to variances. A channel that never varied would count without limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One batch normalisation.

    Args:
        value: name of what it normalises, [N, C, …].
        mean: stored mean of each channel [C].
        deviation: stored standard deviation of each channel [C].
    """

    value: str
    mean: np.ndarray
    deviation: np.ndarray


def targets_of(network: Network) -> tuple[Target, ...]:
    """Return the batch normalisations with stored statistics, in the order of the graph.

    Raises:
        UnsupportedError: there is none.
    """
    found = []
    for node in network.graph:
        if node.op_type != "BatchNormalization":
            continue
        value, _, _, mean, variance = node.inputs[:5]
        stored = [
            None if one is None or one.const_value is None else one.const_value.numpy()
            for one in (mean, variance)
        ]
        if value is None or stored[0] is None or stored[1] is None:
            continue
        spread = np.maximum(np.asarray(stored[1], np.float64), 0.0) + LEAST_VARIANCE
        found.append(
            Target(
                value=str(value.name),
                mean=np.asarray(stored[0], np.float32),
                deviation=np.sqrt(spread).astype(np.float32),
            )
        )
    if not found:
        raise UnsupportedError(
            f"network '{network.name}' has no batch normalisation whose statistics tell of images",
            hint="--data synthetic makes images without any",
        )
    return tuple(found)


def mismatch(values: Sequence[Tensor], targets: Sequence[Target]) -> Tensor:
    """Return how far the statistics of a batch are from the stored ones, a mean over all layers.

    For each channel, the squared difference of means and of standard deviations, both in stored
    standard deviations, so that no layer counts more for the size of its values. ZeroQ (Cai et al.
    2020) and DeepInversion (Yin et al. 2020) sum the same differences without dividing.
    """
    terms = []
    for value, target in zip(values, targets, strict=True):
        mean = torch.as_tensor(target.mean, device=value.device)
        deviation = torch.as_tensor(target.deviation, device=value.device)
        rows = value.transpose(0, 1).flatten(1)
        spread = (rows.var(dim=1, unbiased=False) + LEAST_VARIANCE).sqrt()
        off = (rows.mean(dim=1) - mean) / deviation
        terms.append((off.square() + (spread / deviation - 1).square()).mean())
    return torch.stack(terms).mean()
