"""Layer-adaptive magnitude: Lee, Park, Mo, Ahn, Shin, Layer-adaptive Sparsity for the
Magnitude-based Pruning, ICLR 2021 (arXiv 2010.07611).

    score(u) = w(u)² / Σ w(v)² over all v of the layer with w(v)² ≥ w(u)²

where w(u)² is the sum of the squared weights that produce a channel. It is the squared L2 norm over
what would be left of the layer if channels left in their order: how much of the layer's output the
removal distorts. The strongest channel of every layer has score 1, so one ranking of all layers
never empties one. A unit that several layers produce gets the mean of its scores in them. Within a
layer the order is that of the L2 norm.

The method ranks single weights; here the same is done with whole channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .registry import ScoreContext, Scores, criterion
from .weights import producing

__all__ = ["adaptive"]


@criterion(
    "lamp",
    summary="squared filter norm over that of all stronger ones of its layer",
    source="Lee et al., ICLR 2021",
    comparable=True,
)
def lamp(context: ScoreContext) -> Scores:
    """Return the layer-adaptive magnitude of each unit, 0 to 1; 0 for a unit without weights."""
    groups = context.groups
    sums, layers = np.zeros(groups.unit_count), np.zeros(groups.unit_count)
    for use, weights in producing(context.network, groups):
        units, squares = _squares(groups.units[use.labels[0]], np.square(weights))
        sums[units] += adaptive(squares)
        layers[units] += 1
    return sums / np.maximum(layers, 1)


def _squares(
    produced: npt.NDArray[np.int64], squares: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the units of a layer, each once, and the sum of their squared weights."""
    axes = tuple(axis for axis in range(squares.ndim) if produced.shape[axis] == 1)
    summed = squares.sum(axis=axes, keepdims=True).ravel()
    units, places = np.unique(produced.ravel(), return_inverse=True)
    return units, np.bincount(places.reshape(-1), summed, len(units)).astype(np.float64)


def adaptive(squares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each number over the sum of itself and of all that are larger, ties by position.

    Args:
        squares: not negative, [channels].
    """
    order = np.argsort(squares, kind="stable")
    left = np.cumsum(squares[order][::-1])[::-1]
    found = np.zeros(len(squares))
    found[order] = np.divide(squares[order], left, out=np.zeros(len(left)), where=left > 0)
    return found
