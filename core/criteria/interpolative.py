"""Interpolative decomposition: Chee et al., Model Preserving Compression for Neural Networks,
NeurIPS 2022 (arXiv 2108.00065).

Z [samples · positions, channels] holds the values that the consumers read. In every step, QR with
column pivoting, Z P = Q R, chooses the channel that the channels chosen before explain least. The
score of a channel is its place in that order from the end. So channels that others can replace are
removed first.

Z is not kept in memory. A triangle R with RᵀR = ZᵀZ is updated with every batch, by QR of R stacked
on the new rows (Golub and Van Loan, Matrix Computations, §12.5), and pivoted at the end. If the
consumers read several values, their triangles are stacked, each relative to its own norm. Channels
are compared within their share: channels of different shares of a grouped convolution cannot
replace each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..coupling.labels import Labels
from .activations import streamed_values, values_read
from .registry import ScoreContext, Scores, criterion

__all__ = ["pivots"]

POSITIONS = 64
"""Number of positions of a value that are used in each sample, drawn again for each batch."""

SEED = 0

Matrix = npt.NDArray[np.float64]


@criterion(
    "interpolative",
    summary="pivoted QR: channels that others can stand for go first",
    source="Chee et al., NeurIPS 2022",
    needs_data=True,
)
def interpolative(context: ScoreContext) -> Scores:
    """Return the place of each unit in the order of pivots of its share: 1 for the first, above 0.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    network, groups = context.network, context.groups
    names = values_read(network, groups)
    shares = [
        np.array([group.units[place] for place in share])
        for group in groups.groups
        for partition in group.partitions
        for share in partition
    ]
    scores = np.zeros(groups.unit_count)
    if not names:
        return scores
    columns = {
        (number, name): found
        for number, share in enumerate(shares)
        for name in names
        if (found := _columns(groups, groups.values[name], share)) is not None
    }
    triangles = {key: np.zeros((len(shares[key[0]]), len(shares[key[0]]))) for key in columns}
    random = np.random.default_rng(SEED)
    for values in streamed_values(network, names, context.calibration, "pivots"):
        rows = {name: _rows(values[name], groups.values[name], random) for name in names}
        for key, found in columns.items():
            stacked = np.concatenate([triangles[key], _spread(rows[key[1]], *found)])
            triangles[key] = _triangle(stacked)
    for number, share in enumerate(shares):
        found_here = [triangle for key, triangle in triangles.items() if key[0] == number]
        parts = [part / norm for part in found_here if (norm := np.linalg.norm(part)) > 0]
        if parts:
            order = pivots(np.concatenate(parts))
            scores[share[order]] = 1.0 - np.arange(len(share)) / len(share)
    return scores


Columns = tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], npt.NDArray[np.int64], int]


def _columns(groups: Groups, labels: Labels, share: npt.NDArray[np.int64]) -> Columns | None:
    """Return the places of a share's units in a value; None if they do not occur in it.

    Returns:
        the entries of the channel axis; the position in the share of each entry's unit; the number
        of earlier entries of that unit; the number of units.
    """
    place_of = np.full(groups.unit_count, -1)
    place_of[share] = np.arange(len(share))
    places = place_of[groups.units[labels.vector]]
    entries = np.flatnonzero(places >= 0)
    if not len(entries):
        return None
    places = places[entries]
    order = np.argsort(places, kind="stable")
    entries, places = entries[order], places[order]
    starts = np.searchsorted(places, places)
    return entries, places, np.arange(len(places)) - starts, len(share)


def _triangle(rows: Matrix) -> Matrix:
    """Return R of the QR decomposition of rows."""
    return np.asarray(np.linalg.qr(rows, mode="r"), dtype=np.float64)


def _rows(x: np.ndarray, labels: Labels, random: np.random.Generator) -> Matrix:
    """Return a value as [samples · positions, entries of the channel axis] at drawn positions."""
    assert labels.axis is not None
    moved = np.moveaxis(x, labels.axis, -1)
    flat = moved.reshape(len(moved), -1, moved.shape[-1])
    if flat.shape[1] > POSITIONS:
        flat = flat[:, np.sort(random.choice(flat.shape[1], POSITIONS, replace=False))]
    return flat.reshape(-1, flat.shape[-1]).astype(np.float64)


def _spread(
    rows: Matrix,
    entries: npt.NDArray[np.intp],
    places: npt.NDArray[np.int64],
    repeats: npt.NDArray[np.int64],
    count: int,
) -> Matrix:
    """Return rows with one column for each unit; a unit with several entries gives several rows.

    Args:
        rows: the value, [rows, entries of the channel axis].
        entries: the first result of :func:`_columns`.
        places: the second.
        repeats: the third.
        count: the fourth.
    """
    spread = np.zeros((int(repeats.max()) + 1, len(rows), count))
    spread[repeats, :, places] = rows[:, entries].T
    return spread.reshape(-1, count)


def pivots(matrix: Matrix) -> Sequence[int]:
    """Return the columns in the order in which QR with column pivoting chooses them.

    Modified Gram-Schmidt: the next column is the one with the largest rest; its direction is then
    subtracted from the others. Of equal rests, the first column is chosen. Once all rests are
    within rounding, the remaining columns follow by their lengths.

    Args:
        matrix: [rows, columns].
    """
    rest = np.array(matrix, dtype=np.float64)
    lengths = np.square(rest).sum(axis=0)
    least = np.finfo(np.float64).eps ** 2 * float(lengths.max(initial=0.0)) * max(rest.shape)
    left = np.ones(rest.shape[1], dtype=np.bool_)
    order: list[int] = []
    while left.any():
        norms = np.where(left, np.square(rest).sum(axis=0), -1.0)
        chosen = int(np.argmax(norms))
        if norms[chosen] <= least:
            dependent = np.flatnonzero(left)
            order.extend(dependent[np.argsort(-lengths[dependent], kind="stable")].tolist())
            break
        direction = rest[:, chosen] / np.sqrt(norms[chosen])
        rest -= np.outer(direction, direction @ rest)
        left[chosen] = False
        order.append(chosen)
    return order
