"""Greedy choice on the consumers' outputs: Luo et al., ThiNet, ICCV 2017.

A consumer's output without its bias is the sum of what its input channels contribute,
x̂_c = W_c x_c. The set T that leaves is grown one channel at a time by

    argmin over c of  E ‖Σ_{d ∈ T ∪ {c}} x̂_d‖²

and the score of a channel is its place in this order. ThiNet draws outputs and positions at random;
here the expectation is over all outputs, G_cd = E x̂_cᵀ x̂_d = tr(W_c S_cd W_dᵀ) with S the second
moments of the inputs (not centred). Several consumers of a group are added, each relative to the
energy of its own output. Channels that can only leave together with others of their bank are
chosen cell by cell in turn, from one common T. Channels that no convolution or product reads
directly (a transposed convolution alone does) leave by the L2 norm of their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..data import BATCH_SIZE, Dataset
from ..data.base import batch_size
from ..data.rebatch import Even
from ..ir.network import Network
from ..statistics.moments import Gram, Sampled, gather_grams
from ..statistics.operators import Operator, find_operators
from .activations import values_read
from .registry import Scores, criterion
from .weights import squared_norms

Matrix = npt.NDArray[np.float64]


@criterion(
    "thinet",
    summary="greedy: what the consumers' outputs lose least by",
    source="ThiNet, Luo et al., ICCV 2017",
    needs_data=True,
)
def thinet(network: Network, groups: Groups, data: Dataset | None) -> Scores:
    """Return the place of each class in the greedy order, as a share of its cell, 0 to below 1.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    assert data is not None
    read = set(values_read(network, groups))
    operators = [o for o in find_operators(network) if o.x in read]
    grams = gather_grams(network, operators, Even(data, batch_size(network, BATCH_SIZE)))
    energies = _contributions(network, groups, operators, grams)
    lengths = np.sqrt(squared_norms(network, groups))
    scores = np.zeros(groups.number)
    for number, group in enumerate(groups.groups):
        known = energies.get(number)
        for bank in group.banks:
            matrix = known if known is not None else np.diag(lengths[list(group.channels)])
            for places in _greedy(matrix, bank):
                classes = [group.channels[place] for place in places]
                scores[classes] = np.arange(len(places)) / len(places)
    return scores


def _contributions(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    grams: Mapping[str, Gram | Sampled],
) -> dict[int, Matrix]:
    """Return G [channels, channels] for each group (its index) that operators read."""
    home = np.full(groups.number, -1)
    place = np.zeros(groups.number, dtype=np.int64)
    for number, group in enumerate(groups.groups):
        home[list(group.channels)] = number
        place[list(group.channels)] = np.arange(len(group.channels))
    labels_of = {use.parameter: use.labels for use in groups.uses}
    found: dict[int, Matrix] = {}
    for operator in operators:
        gram = grams.get(operator.key)
        if not isinstance(gram, Gram):
            continue  # depthwise, or too many columns for products of all pairs
        stored = network.graph.initializers[operator.weight].const_value
        assert stored is not None
        array = stored.numpy()
        consumed = np.broadcast_to(groups.classes[labels_of[operator.weight][1]], array.shape)
        columns = operator.matrix(consumed.astype(np.float64))[:, 0].astype(np.int64)
        weights = operator.matrix(array.astype(np.float64))
        second = gram.covariance + gram.mean[:, :, None] * gram.mean[:, None, :]
        products = (weights.transpose(0, 2, 1) @ weights) * second
        energy = float(products.sum())
        if energy <= 0.0:
            continue
        for part in range(len(products)):
            classes, summed = _by_class(products[part], columns[part])
            for number in np.unique(home[classes]).tolist():
                if number < 0:
                    continue
                here = np.flatnonzero(home[classes] == number)
                places = place[classes[here]]
                size = len(groups.groups[number].channels)
                total = found.setdefault(number, np.zeros((size, size)))
                total[np.ix_(places, places)] += summed[np.ix_(here, here)] / energy
    return found


def _by_class(
    products: Matrix, columns: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Return the classes of columns and the products summed over the columns of each two."""
    order = np.argsort(columns, kind="stable")
    classes, starts = np.unique(columns[order], return_index=True)
    rows = np.add.reduceat(products[order], starts, axis=0)
    return classes, np.add.reduceat(rows[:, order], starts, axis=1)


def _greedy(matrix: Matrix, cells: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the members of each cell in the order in which they leave.

    Args:
        matrix: inner products of all channels' contributions.
        cells: rows of the matrix; one leaves from each cell in turn.
    """
    orders: list[list[int]] = [[] for _ in cells]
    left = [np.array(cell) for cell in cells]
    own = np.diag(matrix)
    cross = np.zeros(len(matrix))
    while any(len(rest) for rest in left):
        for number, rest in enumerate(left):
            if not len(rest):
                continue
            best = int(np.argmin(own[rest] + 2.0 * cross[rest]))
            chosen = int(rest[best])
            orders[number].append(chosen)
            left[number] = np.delete(rest, best)
            cross += matrix[chosen]
    return orders
