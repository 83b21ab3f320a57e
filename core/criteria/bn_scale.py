"""Scales of normalisations: Liu et al., Learning Efficient Convolutional Networks through Network
Slimming, ICCV 2017.

score(channel) = Σ |γ| over the factors that the channel is multiplied by after it was normalised or
in a scale layer, in every member of its group.

A normalised channel has deviation |γ|. Channels that meet no factor get what would be their
deviation with white inputs instead: the L2 norm of their weights. Factors that are one and the same
number for all channels choose nothing and are left out (a normalisation whose factors stand in a
layer of their own).
"""

from __future__ import annotations

import numpy as np

from .registry import ScoreContext, Scores, criterion
from .weights import producing, squared_norms


@criterion("bn_scale", summary="size of normalisation factors", source="Liu et al., ICCV 2017")
def bn_scale(context: ScoreContext) -> Scores:
    """Return the summed |γ| of each unit, or the L2 norm of its weights where it has none."""
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
