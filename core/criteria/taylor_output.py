"""First-order Taylor expansion of activations: Molchanov et al., Pruning Convolutional Neural
Networks for Resource Efficient Inference, ICLR 2017.

score(channel) = the mean over minibatches of the mean over samples and positions of |a · ∂L/∂a|,
with L the mean loss of a minibatch; over the L2 norm of the scores of the group. It is the only one
of the family that is normalised, so scores say nothing of whole layers. Behind a ReLU the product
is what it is before. A unit with several places gets their mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..training.framework import torch
from .gates import Place, per_place
from .gradients import Differentiated, Step, by_gradients
from .registry import ScoreContext, Scores

if TYPE_CHECKING:
    from torch import Tensor


@by_gradients(
    "taylor-output",
    summary="mean |activation · its gradient|, over the L2 norm of the group",
    source="Molchanov et al., ICLR 2017",
    comparable=False,
)
def taylor_output(context: ScoreContext) -> Scores:
    """Return the normalised mean product of each unit's activations and their gradients.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    own = Differentiated.of(context)
    names = [place.value for place in own.places]

    def measure(step: Step) -> Tensor:
        total = torch.zeros(context.groups.unit_count, dtype=torch.float64)
        values = [step.values[name] for name in names]
        for place, value, gradient in zip(own.places, values, step.of(values), strict=True):
            total += _summed(place, value, gradient, context.groups.unit_count)
        return total

    found = per_place(context.groups, own.places, own.mean(measure, names))
    for group in context.groups.groups:
        units = list(group.units)
        norm = float(np.linalg.norm(found[units]))
        found[units] /= norm if norm > 0 else 1.0
    return found


def _summed(place: Place, value: Tensor, gradient: Tensor, units: int) -> Tensor:
    """Return mean |a · ∂L/∂a| of the channels of a place, added up by unit [units]."""
    others = [axis for axis in range(value.dim()) if axis != place.axis]
    mean = (value * gradient).detach().abs().double().mean(dim=others)
    return torch.zeros(units, dtype=torch.float64).index_add(0, torch.from_numpy(place.units), mean)
