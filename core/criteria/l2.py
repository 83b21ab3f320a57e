"""L2 norm of filters: He et al., Soft Filter Pruning, IJCAI 2018.

score(channel) = √ Σ w² over all weights that produce the channel, in every member of its group.
"""

from __future__ import annotations

import numpy as np

from ..coupling.groups import Groups
from ..data import Dataset
from ..ir.network import Network
from .registry import Scores, criterion
from .weights import squared_norms


@criterion("l2", summary="Euclidean norm of filter weights", source="He et al., IJCAI 2018")
def l2(network: Network, groups: Groups, data: Dataset | None) -> Scores:  # noqa: ARG001
    """Return the L2 norm of each unit over its producing weights."""
    return np.sqrt(squared_norms(network, groups))
