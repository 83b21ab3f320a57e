"""Common parts of the criteria on weights: sums over the weights that produce each channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.trace import Use
from ..ir.network import Network
from .registry import Scores

__all__ = ["producing", "squared_norms", "summed"]


def producing(
    network: Network, groups: Groups, role: str = "weight"
) -> Iterator[tuple[Use, npt.NDArray[np.float64]]]:
    """Yield every use of a parameter in a role, with its values, in the order of the graph."""
    for use in groups.uses:
        tensor = network.graph.initializers[use.parameter].const_value
        if use.role == role and tensor is not None:
            yield use, tensor.numpy().astype(np.float64)


def squared_norms(network: Network, groups: Groups) -> Scores:
    """Return Σ w² of each unit over all weights that produce it, in every member of its group."""
    return summed(network, groups, np.square)


def summed(
    network: Network,
    groups: Groups,
    measure: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Scores:
    """Return the sum of a measure over all weights that produce each unit [units].

    Args:
        network: the network.
        groups: its groups.
        measure: a function of each weight.
    """
    found = np.zeros(groups.unit_count)
    for use, weights in producing(network, groups):
        produced = use.labels[0]
        axes = tuple(axis for axis in range(weights.ndim) if produced.shape[axis] == 1)
        sums = measure(weights).sum(axis=axes, keepdims=True)
        np.add.at(found, groups.units[produced].ravel(), sums.ravel())
    return found
