"""Common parts of the criteria on weights: sums over the weights that produce each channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.trace import Use
from ..ir.network import Network
from .registry import Scores

__all__ = ["producing", "squared_norms"]


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
    found = np.zeros(groups.unit_count)
    for use, weights in producing(network, groups):
        produced = use.labels[0]
        summed = tuple(axis for axis in range(weights.ndim) if produced.shape[axis] == 1)
        norms = np.square(weights).sum(axis=summed, keepdims=True)
        np.add.at(found, groups.units[produced].ravel(), norms.ravel())
    return found
