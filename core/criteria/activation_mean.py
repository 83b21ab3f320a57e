"""Mean activation: Molchanov et al., Pruning Convolutional Neural Networks, ICLR 2017 (as one of
the criteria compared there; here of the absolute value, as Torch-Pruning has it).

score(channel) = mean |x| over samples and positions of what the channel's consumers read, the mean
over the values read. Depthwise convolutions are passed through, not counted as consumers.
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
