"""Average percentage of zeros: Hu et al., Network Trimming, 2016 (arXiv 1607.03250).

score(channel) = 1 − APoZ = the fraction of samples and positions at which the channel is above zero
behind its activation, before any pooling; the mean over the values its consumers read.

Behind a ReLU, all other values are zero. Activations with a slope below zero have no zeros: there,
negative values count as zeros.
"""

from __future__ import annotations

import numpy as np

from .activations import activations_of, mean_over_values, values_read
from .registry import ScoreContext, Scores, criterion


@criterion(
    "apoz",
    summary="share of activations above zero",
    source="Hu et al., arXiv 1607.03250",
    needs_data=True,
)
def apoz(context: ScoreContext) -> Scores:
    """Return the fraction of activations above zero of each unit, 0 to 1.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    network, groups = context.network, context.groups
    names = activations_of(network, groups, values_read(network, groups))
    return mean_over_values(network, groups, names, context.calibration, _above_zero)


def _above_zero(x: np.ndarray) -> np.ndarray:
    return x > 0
