"""First-order Taylor expansion of single weights: Molchanov et al., Importance Estimation for
Neural Network Pruning, CVPR 2019.

score(channel) = Σ (w · ∂L/∂w)² over the weights of its filter, the mean over minibatches, with L
the mean loss of a minibatch. Each weight is squared by itself, so that signs do not cancel; the
variant with gates squares the sum. A unit with several filters (residual sums, depthwise layers)
gets their mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..training.framework import torch
from .gradients import Differentiated, Step, by_gradients
from .registry import ScoreContext, Scores
from .weights import producing

if TYPE_CHECKING:
    from torch import Tensor


@by_gradients(
    "taylor-weight",
    summary="sum of squared weight · gradient over a filter",
    source="Molchanov et al., CVPR 2019",
)
def taylor_weight(context: ScoreContext) -> Scores:
    """Return the mean squared first-order change of each unit's weights.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    groups = context.groups
    uses = {use.parameter: use for use, _ in producing(context.network, groups)}
    own = Differentiated.of(context, parameters=tuple(uses))
    filters = {
        name: (groups.units[use.labels[0]], own.module.tensor(name))
        for name, use in uses.items()
        if name in own.module.source.graph.initializers
    }
    counts = np.zeros(groups.unit_count)
    for units, _ in filters.values():
        counts[np.unique(units)] += 1

    def measure(step: Step) -> Tensor:
        total = torch.zeros(groups.unit_count, dtype=torch.float64)
        tensors = [tensor for _, tensor in filters.values()]
        for (units, weight), gradient in zip(filters.values(), step.of(tensors), strict=True):
            others = [axis for axis in range(weight.dim()) if units.shape[axis] == 1]
            squares = (weight * gradient).detach().double().square()
            sums = squares.sum(dim=others, keepdim=True) if others else squares
            total.index_add_(0, torch.from_numpy(units.ravel()), sums.reshape(-1))
        return total

    return own.mean(measure) / np.maximum(counts, 1)
