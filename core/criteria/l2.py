"""L2 norm of filters: He et al., Soft Filter Pruning, IJCAI 2018.

score(channel) = √ Σ w² over all weights that produce the channel, in every member of its group.
"""

from __future__ import annotations

import numpy as np

from .registry import ScoreContext, Scores, criterion
from .weights import squared_norms


@criterion("l2", summary="Euclidean norm of filter weights", source="He et al., IJCAI 2018")
def l2(context: ScoreContext) -> Scores:
    """Return the L2 norm of each unit over its producing weights."""
    network, groups = context.network, context.groups
    return np.sqrt(squared_norms(network, groups))
