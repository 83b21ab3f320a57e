"""Mean activation: Molchanov et al., Pruning Convolutional Neural Networks, ICLR 2017 (one of the
criteria compared there). As in Torch-Pruning, the mean is that of the absolute value.

score(channel) = mean |x| over samples and positions, x the values that the channel's consumers
read; the mean over these values. Depthwise convolutions are passed through, not counted as
consumers.
"""

from __future__ import annotations

import numpy as np

from .activations import mean_over_values, values_read
from .registry import ScoreContext, Scores, criterion


@criterion(
    "activation_mean",
    summary="mean absolute activation",
    source="Molchanov et al., ICLR 2017",
    needs_data=True,
)
def activation_mean(context: ScoreContext) -> Scores:
    """Return the mean absolute activation of each unit.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    network, groups = context.network, context.groups
    return mean_over_values(
        network, groups, values_read(network, groups), context.calibration, np.abs
    )
