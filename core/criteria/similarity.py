"""Similarity: of the two most similar channels, one leaves; then the next two are looked for.

    similarity(a, b) = ⟨v_a, v_b⟩ / (‖v_a‖ ‖v_b‖)

where v is the vector of a channel over all layers that make it, with normalisations and shifts
(:mod:`.folded`). Of the two channels of a group with the largest similarity, the one with the
smaller norm leaves, as the other can stand for it; the search goes on among those that are left.
The score of a channel is its place in that order, from 0 to below 1. Channels are compared within
their share. The repair `merge` folds what leaves into what stays.

Sources: Srinivas and Babu, Data-free Parameter Pruning for Deep Neural Networks, 2015 (arXiv
1507.06149), for the order; Kim, Kim, Kim, Kim, Neuron Merging, NeurIPS 2020, for the similarity.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..ir.network import Network
from .folded import Matrix, Vectors, gram, vectors_of
from .registry import ScoreContext, Scores, criterion

__all__ = ["by_group", "similar_first", "similarities"]


@criterion(
    "similarity",
    summary="of the two most similar filters, the smaller one first",
    source="Srinivas and Babu, 2015; Kim et al., NeurIPS 2020",
)
def similarity(context: ScoreContext) -> Scores:
    """Return the place of each unit in the order of its share, from 0 to below 1."""
    groups = context.groups
    vectors = by_group(context.network, groups)
    scores = np.zeros(groups.unit_count)
    for index, group in enumerate(groups.groups):
        if not group.prunable:
            continue
        products = gram(group, vectors.get(index, ()))
        for partition in group.partitions:
            for share in partition:
                order = similar_first(products[np.ix_(share, share)])
                units = np.array([group.units[place] for place in share])
                scores[units[order]] = np.arange(len(order)) / len(order)
    return scores


def by_group(network: Network, groups: Groups) -> dict[int, list[Vectors]]:
    """Return position of a group → what its channels are made by."""
    owner = {unit: k for k, group in enumerate(groups.groups) for unit in group.units}
    found: dict[int, list[Vectors]] = {}
    for own in vectors_of(network, groups):
        for index in sorted({owner[unit] for unit in own.units.tolist() if unit in owner}):
            found.setdefault(index, []).append(own)
    return found


def similarities(products: Matrix) -> Matrix:
    """Return the cosines of inner products; 0 with a vector of zeros, −∞ on the diagonal."""
    norms = np.sqrt(np.diag(products))
    sizes = np.outer(norms, norms)
    found: Matrix = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)
    np.fill_diagonal(found, -np.inf)
    return found


def similar_first(products: Matrix) -> npt.NDArray[np.int64]:
    """Return the rows in the order in which they leave.

    Rows of zeros leave first: anything can stand for them.

    Args:
        products: inner products of all pairs.
    """
    norms = np.diag(products)
    cosines = np.round(similarities(products), 12)
    nothing = np.flatnonzero(norms == 0)
    order = nothing.tolist()
    cosines[nothing], cosines[:, nothing] = -np.inf, -np.inf
    nearest = cosines.argmax(axis=1) if len(norms) else np.zeros(0, dtype=np.int64)
    largest = cosines.max(axis=1, initial=-np.inf)
    for _ in range(len(norms) - len(order) - 1):
        a = int(np.argmax(largest))
        b = int(nearest[a])
        gone = a if norms[a] < norms[b] or (norms[a] == norms[b] and a > b) else b
        order.append(gone)
        cosines[gone], cosines[:, gone], largest[gone] = -np.inf, -np.inf, -np.inf
        again = np.flatnonzero((nearest == gone) & (largest > -np.inf))
        nearest[again], largest[again] = cosines[again].argmax(axis=1), cosines[again].max(axis=1)
    left = sorted(set(range(len(norms))) - set(order))
    return np.array([*order, *left], dtype=np.int64)
