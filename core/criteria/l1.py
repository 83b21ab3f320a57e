"""L1 norm of filters: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017.

score(channel) = Σ |w| over all weights that produce the channel, in every member of its group.
"""

from __future__ import annotations

import numpy as np

from .registry import ScoreContext, Scores, criterion
from .weights import summed


@criterion("l1", summary="sum of absolute filter weights", source="Li et al., ICLR 2017")
def l1(context: ScoreContext) -> Scores:
    """Return the L1 norm of each unit over its producing weights."""
    return summed(context.network, context.groups, np.abs)
