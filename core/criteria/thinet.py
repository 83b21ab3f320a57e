"""Greedy choice on the consumers' outputs: Luo et al., ThiNet, ICCV 2017.

A consumer's output without its bias is the sum of its input channels' contributions x̂_c = W_c x_c.
The set T of removed channels grows one channel at a time, by

    argmin over c of  E ‖Σ_{d ∈ T ∪ {c}} x̂_d‖²

The score of a channel is its place in this order. ThiNet draws outputs and positions at random.
Here the expectation is over all outputs: G_cd = E x̂_cᵀ x̂_d = tr(W_c S_cd W_dᵀ), with S the second
moments of the inputs (not centred).

The G of several consumers of a group are added, each relative to the energy of its own output. In a
partition with several shares, the channels of each step are chosen in turn, from one common T.
Channels that only transposed convolutions read are ordered by the L2 norm of their weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups, Partition
from ..data import BATCH_SIZE
from ..data.base import batch_size
from ..data.rebatch import Rebatched
from ..ir.network import Network
from ..statistics.moments import InputMoments, InputSample, gather_moments
from ..statistics.operators import Operator, find_operators
from .activations import values_read
from .registry import ScoreContext, Scores, criterion
from .weights import squared_norms

Matrix = npt.NDArray[np.float64]


@criterion(
    "thinet",
    summary="greedy: what the consumers' outputs lose least by",
    source="ThiNet, Luo et al., ICCV 2017",
    needs_data=True,
)
def thinet(context: ScoreContext) -> Scores:
    """Return the place of each unit in the greedy order of its share, from 0 to below 1.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    network, groups = context.network, context.groups
    read = set(values_read(network, groups))
    operators = [o for o in find_operators(network) if o.x in read]
    moments = gather_moments(
        network, operators, Rebatched(context.calibration, batch_size(network, BATCH_SIZE))
    )
    energies = _contributions(network, groups, operators, moments)
    lengths = np.sqrt(squared_norms(network, groups))
    scores = np.zeros(groups.unit_count)
    for number, group in enumerate(groups.groups):
        known = energies.get(number)
        for partition in group.partitions:
            matrix = known if known is not None else np.diag(lengths[list(group.units)])
            for places in _greedy(matrix, partition):
                units = [group.units[place] for place in places]
                scores[units] = np.arange(len(places)) / len(places)
    return scores


def _contributions(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
) -> dict[int, Matrix]:
    """Return G [units, units] of each group that operators read, by the index of the group."""
    group_of = np.full(groups.unit_count, -1)
    place_of = np.zeros(groups.unit_count, dtype=np.int64)
    for index, group in enumerate(groups.groups):
        group_of[list(group.units)] = index
        place_of[list(group.units)] = np.arange(len(group.units))
    labels_of = {use.parameter: use.labels for use in groups.uses}
    found: dict[int, Matrix] = {}
    for operator in operators:
        own = moments.get(operator.key)
        if not isinstance(own, InputMoments):
            continue  # depthwise, or too many columns for products of all pairs
        array = network.array(operator.weight)
        read = np.broadcast_to(groups.units[labels_of[operator.weight][1]], array.shape)
        columns = operator.matrix(read.astype(np.float64))[:, 0].astype(np.int64)
        products = _products(operator.matrix(array.astype(np.float64)), own)
        energy = float(products.sum())
        if energy <= 0.0:
            continue
        for part in range(len(products)):
            units, summed = _by_unit(products[part], columns[part])
            for index in np.unique(group_of[units]).tolist():
                if index < 0:
                    continue
                here = np.flatnonzero(group_of[units] == index)
                places = place_of[units[here]]
                size = len(groups.groups[index].units)
                total = found.setdefault(index, np.zeros((size, size)))
                total[np.ix_(places, places)] += summed[np.ix_(here, here)] / energy
    return found


def _products(weights: Matrix, moments: InputMoments) -> Matrix:
    """Return the inner products of the columns' contributions, [groups, columns, columns].

    Args:
        weights: [groups, outputs, columns].
        moments: moments of the inputs.
    """
    second = moments.covariance + moments.mean[:, :, None] * moments.mean[:, None, :]
    products: Matrix = (weights.transpose(0, 2, 1) @ weights) * second
    return products


def _by_unit(
    products: Matrix, columns: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Return the units of the columns, and the products summed over the columns of each pair."""
    order = np.argsort(columns, kind="stable")
    units, starts = np.unique(columns[order], return_index=True)
    rows = np.add.reduceat(products[order], starts, axis=0)
    return units, np.add.reduceat(rows[:, order], starts, axis=1)


def _greedy(matrix: Matrix, partition: Partition) -> list[list[int]]:
    """Return the members of each share in the order of their removal.

    Args:
        matrix: inner products of all units' contributions.
        partition: its shares are rows of the matrix. They lose channels in turn, step by step.
    """
    orders: list[list[int]] = [[] for _ in partition]
    left = [np.array(share) for share in partition]
    own = np.diag(matrix)
    cross = np.zeros(len(matrix))
    for number in _turns(partition):
        rest = left[number]
        best = int(np.argmin(own[rest] + 2.0 * cross[rest]))
        chosen = int(rest[best])
        orders[number].append(chosen)
        left[number] = np.delete(rest, best)
        cross += matrix[chosen]
    return orders


def _turns(partition: Partition) -> Iterator[int]:
    """Yield the share that loses the next channel, until all channels are gone."""
    lost = (0,) * len(partition)
    for after in partition.path():
        for number, (first, last) in enumerate(zip(lost, after, strict=True)):
            yield from [number] * (last - first)
        lost = after
    left = np.subtract(partition.sizes, lost)
    while left.any():
        for number in np.flatnonzero(left).tolist():
            left[number] -= 1
            yield number
