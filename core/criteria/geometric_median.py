"""Distance from the geometric median: He et al., Filter Pruning via Geometric Median, CVPR 2019.

score(channel) = Σ_j ‖F − F_j‖₂ over the filters j that read the same inputs, summed over the
members of the group. A filter near the geometric median of its layer can be replaced by the others,
however large it is.

Filters of a grouped convolution are compared within their group. The filters of a depthwise
convolution read one channel each. They are compared with all others of the layer: channels with
similar producers and similar depthwise filters are similar.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..coupling.trace import Use
from .registry import ScoreContext, Scores, criterion
from .weights import producing

Places = npt.NDArray[np.intp]


@criterion(
    "geometric_median",
    summary="distance of a filter to the others of its layer",
    source="FPGM, He et al., CVPR 2019",
)
def geometric_median(context: ScoreContext) -> Scores:
    """Return the summed distances of each unit's filters to the others of their layers."""
    network, groups = context.network, context.groups
    scores = np.zeros(groups.unit_count)
    for use, weights in producing(network, groups):
        for labels, filters in _filters(use, weights):
            np.add.at(scores, groups.units[labels], _distances(filters))
    return scores


def _filters(
    use: Use, weights: npt.NDArray[np.float64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Yield labels [filters] and weights [filters, elements] of filters with the same inputs."""
    produced, *consumed = use.labels
    axes = [axis for axis in range(weights.ndim) if produced.shape[axis] > 1] or [0]
    if len(axes) > 1:
        # A grouped transposed convolution, [inputs, outputs of a group, …]: rows with the same
        # labels are the inputs of one group.
        rows = produced.reshape(produced.shape[0], -1)
        for places in _equal_rows(rows):
            chosen = weights[places]
            yield rows[places[0]], np.moveaxis(chosen, 1, 0).reshape(chosen.shape[1], -1)
        return
    (axis,) = axes
    labels = np.moveaxis(produced, axis, 0).reshape(-1)
    filters = np.moveaxis(weights, axis, 0).reshape(len(labels), -1)
    if not consumed or consumed[0].shape[axis] == 1:
        yield labels, filters
        return
    for places in _equal_rows(np.moveaxis(consumed[0], axis, 0).reshape(len(labels), -1)):
        yield labels[places], filters[places]


def _equal_rows(rows: npt.NDArray[np.int64]) -> list[Places]:
    """Return the positions of equal rows, an array for each distinct row."""
    _, kinds = np.unique(rows, axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    return [np.flatnonzero(kinds == kind) for kind in range(int(kinds.max()) + 1)]


def _distances(filters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each row the sum of its Euclidean distances to the other rows."""
    squares = np.square(filters).sum(axis=1)
    between = squares[:, None] + squares[None, :] - 2.0 * (filters @ filters.T)
    np.fill_diagonal(between, 0.0)
    summed: npt.NDArray[np.float64] = np.sqrt(np.maximum(between, 0.0)).sum(axis=1)
    return summed
