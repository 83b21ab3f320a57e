"""First-order Taylor expansion at the gates: Molchanov et al., Importance Estimation for Neural
Network Pruning, CVPR 2019, and what belongs to it.

With g the gradient of a unit's gate for the mean loss of a minibatch, and g_n the part of sample n
(for its own loss it is N times as large in a minibatch of N), the means over minibatches of

* `taylor`: g², the best of the paper;
* `taylor-sample`: Σ_n g_n²: signs of samples do not cancel;
* `sensitivity`: Σ_n |g_n|, the mean size of the gradients of the samples' own losses (Mittal et
  al., 2018, have it for whole activations).

A gate that several places share has the sum of their gradients; its score is divided by their
number. Scores of `taylor` and `taylor-sample` differ by a factor that depends on the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gates import per_place
from .gradients import Differentiated, Step, by_gradients
from .registry import ScoreContext, Scores

if TYPE_CHECKING:
    from torch import Tensor


@by_gradients(
    "taylor",
    summary="squared first-order loss change at the gate of the channel",
    source="Molchanov et al., CVPR 2019",
)
def taylor(context: ScoreContext) -> Scores:
    """Return the mean over minibatches of the squared gate gradient of each unit.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    own = Differentiated.of(context)
    found = own.mean(lambda step: step.gradients().sum(dim=0).square())
    return per_place(context.groups, own.places, found)


@by_gradients(
    "taylor-sample",
    summary="as taylor, with the gradient of each sample squared by itself",
    source="Molchanov et al., CVPR 2019, code",
)
def taylor_sample(context: ScoreContext) -> Scores:
    """Return the mean over minibatches of the summed squares of the samples' gate gradients.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    own = Differentiated.of(context)
    found = own.mean(lambda step: step.gradients().square().sum(dim=0))
    return per_place(context.groups, own.places, found)


@by_gradients(
    "sensitivity",
    summary="size of the gradient at the gate of the channel",
    source="Mittal et al., WACV 2018",
)
def sensitivity(context: ScoreContext) -> Scores:
    """Return the mean over minibatches of the mean size of the samples' gate gradients.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """

    def measure(step: Step) -> Tensor:
        return step.gradients().abs().sum(dim=0)  # the mean of N·|g_n| over N samples

    own = Differentiated.of(context)
    return per_place(context.groups, own.places, own.mean(measure))
