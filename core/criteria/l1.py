"""L1 norm of filters: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017.

score(channel) = Σ |w| over all weights that produce the channel, in every member of its group.
"""

from __future__ import annotations

import numpy as np

from .registry import ScoreContext, Scores, criterion


@criterion("l1", summary="sum of absolute filter weights", source="Li et al., ICLR 2017")
def l1(context: ScoreContext) -> Scores:
    """Return the L1 norm of each unit over its producing weights."""
    network, groups = context.network, context.groups
    scores = np.zeros(groups.unit_count)
    for use in groups.uses:
        tensor = network.graph.initializers[use.parameter].const_value
        if use.role != "weight" or tensor is None:
            continue
        produced = use.labels[0]
        weights = np.abs(tensor.numpy()).astype(np.float64)
        summed = tuple(axis for axis in range(weights.ndim) if produced.shape[axis] == 1)
        norms = weights.sum(axis=summed, keepdims=True)
        np.add.at(scores, groups.units[produced].ravel(), norms.ravel())
    return scores
