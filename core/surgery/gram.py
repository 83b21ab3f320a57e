"""Second moments of what every operator reads, gathered in one stream over the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Dataset, streamed
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..progress import Progress, silent
from ..session import Session
from .operators import Array, Operator

__all__ = ["FLOOR", "Gram", "Moments", "gather_grams", "positions_of_a_sample", "shown"]

ENOUGH = 64
"""Output positions for every column (input · tap) of a convolution, over all samples together.

Least squares with n columns on N positions overfits by about n / N of the error, here less than two
percent; more positions cost time and add little.
"""

FEWEST = 16
"""Positions of a sample that are looked at in any case, where there are so many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gram:
    """Moments of an operator's inputs.

    Args:
        mean: [groups, inputs · taps].
        covariance: [groups, inputs · taps, inputs · taps], around `mean`.
        power: [groups], mean square of an input.
        count: positions that were averaged over.
    """

    mean: Array
    covariance: Array
    power: Array
    count: int

    def ridge(self, part: float) -> Array:
        """Return what to add to the diagonals, [groups]: a part of the mean variance of an input.

        It never falls below :data:`FLOOR` of the power: variance that small is rounding, as where
        data saturates a layer, and weights fitted to it would explode.
        """
        size = self.covariance.shape[-1]
        variance = np.trace(self.covariance, axis1=1, axis2=2) / size
        smallest = np.finfo(np.float32).tiny
        found: Array = np.maximum(np.maximum(part * variance, FLOOR * self.power), smallest)
        return found


FLOOR = 1e-4
"""Part of the power below which variance is not trusted: float32 sums cannot tell it, and weights
that fit it (where the data saturates a layer, say) would be so large that rounding shows."""


class Moments:
    """Running sums of x, x xᵀ and, where there are targets, y and y xᵀ. [groups, …] each."""

    def __init__(self) -> None:
        self.count = 0
        self.x: Array | None = None
        self.xx: Array | None = None
        self.y: Array | None = None
        self.yx: Array | None = None

    def add(self, x: Array, y: Array | None = None) -> None:
        """Add positions: x [groups, positions, inputs], y [groups, positions, outputs]."""
        self.count += x.shape[1]
        self.x = _sum(self.x, x.sum(axis=1, dtype=np.float64))
        self.xx = _sum(self.xx, x.transpose(0, 2, 1) @ x)
        if y is not None:
            self.y = _sum(self.y, y.sum(axis=1, dtype=np.float64))
            self.yx = _sum(self.yx, y.transpose(0, 2, 1) @ x)

    def gram(self, *, centred: bool) -> Gram:
        """Return the moments around the mean, or around zero."""
        assert self.x is not None
        assert self.xx is not None
        mean = self.x / self.count
        second = self.xx / self.count
        power = np.trace(second, axis1=1, axis2=2) / second.shape[-1]
        if not centred:
            mean = np.zeros_like(mean)
        covariance = second - mean[:, :, None] * mean[:, None, :]
        return Gram(mean=mean, covariance=covariance, power=power, count=self.count)


def gather_grams(
    network: Network,
    operators: Sequence[Operator],
    dataset: Dataset,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Gram]:
    """Stream the data once and return the moments of every operator's inputs by its key.

    Depthwise convolutions are left out: no channel is theirs to choose. Inputs are centred where
    the operator can store a shift of its output.

    Args:
        network: the network the operators are of.
        operators: what to look at.
        dataset: inputs; labels are not used. Memory does not grow with its size.
        seed: of the positions drawn.
        progress: told of the samples done.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = [operator for operator in operators if not operator.depthwise(network)]
    names = list(dict.fromkeys(operator.x for operator in operators))
    session = Session(shown(network, names))
    shapes = network.values()
    moments = {operator.key: Moments() for operator in operators}
    most = {o.key: positions_of_a_sample(o, network, dataset.samples) for o in operators}
    random = np.random.default_rng(seed)
    for batch in streamed(dataset, "covariances", progress):
        values = {**batch.inputs, **session.run(batch.inputs)}
        for operator in operators:
            shape = [dim if isinstance(dim, int) else 1 for dim in shapes[operator.y].shape or ()]
            positions = operator.positions(shape, most[operator.key], random)
            x = values.get(operator.x, values.get(f"shown:{operator.x}"))
            assert x is not None
            moments[operator.key].add(operator.inputs(x, positions))
    return {
        operator.key: moments[operator.key].gram(centred=operator.shift is not None)
        for operator in operators
    }


def positions_of_a_sample(operator: Operator, network: Network, samples: int) -> int:
    """Return how many positions of each of so many samples say enough about an operator."""
    weight = network.graph.initializers[operator.weight].const_value
    assert weight is not None
    columns = operator.matrix(weight.numpy()).shape[-1]
    return max(-(-ENOUGH * columns // samples), FEWEST)


def shown(network: Network, names: Sequence[str]) -> Network:
    """Return the network with inner values as outputs `shown:<name>`."""
    inputs = set(network.inputs)
    return rebuild(
        network, extra_outputs={f"shown:{name}": name for name in names if name not in inputs}
    )


def _sum(total: Array | None, more: Array) -> Array:
    return more.astype(np.float64) if total is None else total + more
