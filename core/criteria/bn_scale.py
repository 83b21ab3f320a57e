"""Scales of normalisations: Liu et al., Learning Efficient Convolutional Networks through Network
Slimming, ICCV 2017.

score(channel) = Σ |γ| over the factors of normalisations and scale layers that multiply the
channel, in every member of its group.

A normalised channel has the deviation |γ|. A channel without factors gets the deviation that it has
for white inputs: the L2 norm of its weights. Factors that are the same number for all channels are
left out, since they say nothing about channels. They occur if a normalisation has its factors in a
separate layer.
"""

from __future__ import annotations

import numpy as np

from .registry import ScoreContext, Scores, criterion
from .weights import producing, squared_norms


@criterion(
    "bn_scale",
    summary="size of normalisation factors: network slimming",
    source="Liu et al., ICCV 2017",
)
def bn_scale(context: ScoreContext) -> Scores:
    """Return the summed |γ| of each unit; the L2 norm of its weights for a unit without factors."""
    network, groups = context.network, context.groups
    scores = np.zeros(groups.unit_count)
    scaled = groups.mask(())
    for use, factors in producing(network, groups, "scale"):
        if (factors == factors.flat[0]).all():
            continue
        (labels,) = use.labels
        units = groups.units[labels].ravel()
        summed = tuple(axis for axis in range(factors.ndim) if labels.shape[axis] == 1)
        np.add.at(scores, units, np.abs(factors).sum(axis=summed, keepdims=True).ravel())
        scaled[units] = True
    return np.where(scaled, scores, np.sqrt(squared_norms(network, groups)))
