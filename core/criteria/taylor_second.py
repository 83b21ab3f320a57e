"""Second-order Taylor expansion at the gates, and Optimal Brain Damage: as in the code of Molchanov
et al., Importance Estimation for Neural Network Pruning, CVPR 2019; LeCun et al., NIPS 1989.

With g the gradient of a unit's gate z = 1 for the mean loss of a minibatch, and H its curvature:

* `taylor-second`: the mean over minibatches of (−z·g + ½·z²·H)²;
* `obd`: the mean over minibatches of z·H, as that code has it: not ½·z²·H, and with its sign.

H is the diagonal of the Hessian of all gates. With few units it is exact: one product with the
Hessian for each. With more it is estimated (Hutchinson, 1990): the mean of r ⊙ Hr for vectors r of
random signs. Samples have gates of their own, between which the Hessian is zero. So each sample of
a minibatch gets signs of its own, and one product is as many probes as there are samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..coupling.groups import Groups
from ..data.calibration import CALIBRATION_SAMPLES
from ..training.framework import torch
from .gates import per_place
from .gradients import Differentiated, Step, by_gradients
from .registry import ScoreContext, Scores

if TYPE_CHECKING:
    from torch import Tensor

EXACT = 64
"""Units up to which every element of the diagonal is computed by itself."""

PROBES = 16
"""Products with the Hessian a minibatch, where the diagonal is estimated."""

COST = (
    f"{PROBES + 1} passes forward and back over up to {CALIBRATION_SAMPLES:,} samples, or one more "
    f"than there are channels, up to {EXACT}"
)


@by_gradients(
    "taylor-second",
    summary="squared second-order loss change at the gate of the channel",
    source="Molchanov et al., CVPR 2019",
    cost=COST,
)
def taylor_second(context: ScoreContext) -> Scores:
    """Return the mean squared second-order change of the loss without each unit.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    curved = _Curved(context)

    def measure(step: Step) -> Tensor:
        gradient, curvature = curved.of(step)
        return (0.5 * curvature - gradient).square()

    own = curved.differentiated
    return per_place(context.groups, own.places, own.mean(measure))


@by_gradients(
    "obd",
    summary="curvature of the loss at the gate of the channel",
    source="LeCun et al., NIPS 1989, in the code of CVPR 2019",
    cost=COST,
)
def obd(context: ScoreContext) -> Scores:
    """Return the mean curvature of the loss at the gate of each unit.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    curved = _Curved(context)
    own = curved.differentiated
    found = own.mean(lambda step: curved.of(step)[1])
    return per_place(context.groups, own.places, found)


class _Curved:
    """Gradients and curvatures of the gates of a network."""

    def __init__(self, context: ScoreContext):
        self.differentiated = Differentiated.of(context)
        self._units = _removable(context.groups)
        self._apart = all(place.by_sample for place in self.differentiated.places)
        self._random = np.random.default_rng(0)

    def of(self, step: Step) -> tuple[Tensor, Tensor]:
        """Return gradient and curvature of each gate [units], those of single units exactly."""
        gradients = step.gradients(again=True)
        curvature = torch.zeros(gradients.shape[1])
        if not gradients.requires_grad:  # the loss is linear in the gates
            return gradients.detach().sum(dim=0), curvature
        for probe in self._probes(gradients.shape):
            (product,) = torch.autograd.grad(
                gradients, [step.gates], grad_outputs=probe, retain_graph=True, allow_unused=True
            )
            if product is not None:
                curvature = curvature + (probe * product).sum(dim=0)
        if len(self._units) > EXACT:
            curvature = curvature / PROBES
        return gradients.detach().sum(dim=0), curvature.detach()

    def _probes(self, shape: tuple[int, ...]) -> Iterator[Tensor]:
        """Yield the vectors that are multiplied by the Hessian, [samples, units] each."""
        if len(self._units) <= EXACT:
            for unit in self._units:
                one = torch.zeros(shape)
                one[:, unit] = 1.0
                yield one
            return
        samples, units = shape
        for _ in range(PROBES):
            signs = self._random.integers(0, 2, (samples if self._apart else 1, units))
            yield torch.from_numpy(2.0 * signs - 1.0).float().expand(shape)


def _removable(groups: Groups) -> list[int]:
    """Return the units that may be removed."""
    return sorted({int(unit) for group in groups.groups for unit in group.removable()})
