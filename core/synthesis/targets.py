"""How far the values of a batch are from what batch normalisations remember, as a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..statistics.normalizations import LEAST_VARIANCE, Stored
from ..training.framework import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["mean_mismatch"]


def mean_mismatch(values: Sequence[Tensor], targets: Sequence[Stored]) -> Tensor:
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
