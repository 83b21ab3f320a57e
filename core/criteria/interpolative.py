"""Interpolative decomposition: Chee et al., Model Preserving Compression for Neural Networks,
NeurIPS 2022 (arXiv 2108.00065).

Z [samples · positions, channels] is what the consumers read. QR with column pivoting, Z P = Q R,
names in every step the channel that the ones named before explain least; the score of a channel is
its place in that order counted from the end, so that channels which others can stand for leave
first.

Z is never held: a triangle R with RᵀR = ZᵀZ is carried from batch to batch by QR of R stacked on
the new rows (Golub and Van Loan, Matrix Computations, §12.5), and pivoted at the end. Where several
values are read, their triangles are stacked, each relative to its own norm. Channels are compared
inside their share: those that leave from different shares of a grouped convolution cannot stand for
one another.
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
"""Positions of a value that are looked at in one sample, drawn anew for each batch."""

SEED = 0

Matrix = npt.NDArray[np.float64]


@criterion(
    "interpolative",
    summary="pivoted QR: channels that others can stand for go first",
    source="Chee et al., NeurIPS 2022",
    needs_data=True,
)
def interpolative(context: ScoreContext) -> Scores:
    """Return the place of each unit in the order of pivots, as a share of its share: 1 is first.

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
    """Return where the channels of a share stand in a value; None where they do not.

    Returns:
        entries of the channel axis, for each its channel (place in the share) and the how-manieth
        of that channel it is, and the number of channels.
    """
    place = np.full(groups.unit_count, -1)
    place[share] = np.arange(len(share))
    channels = place[groups.units[labels.vector]]
    entries = np.flatnonzero(channels >= 0)
    if not len(entries):
        return None
    channels = channels[entries]
    order = np.argsort(channels, kind="stable")
    entries, channels = entries[order], channels[order]
    starts = np.searchsorted(channels, channels)
    return entries, channels, np.arange(len(channels)) - starts, len(share)


def _triangle(rows: Matrix) -> Matrix:
    """Return R of the QR decomposition of rows."""
    return np.asarray(np.linalg.qr(rows, mode="r"), dtype=np.float64)


def _rows(x: np.ndarray, labels: Labels, random: np.random.Generator) -> Matrix:
    """Return a value as [samples · positions, entries of the channel axis] at some positions."""
    assert labels.axis is not None
    moved = np.moveaxis(x, labels.axis, -1)
    flat = moved.reshape(len(moved), -1, moved.shape[-1])
    if flat.shape[1] > POSITIONS:
        flat = flat[:, np.sort(random.choice(flat.shape[1], POSITIONS, replace=False))]
    return flat.reshape(-1, flat.shape[-1]).astype(np.float64)


def _spread(
    rows: Matrix,
    entries: npt.NDArray[np.intp],
    channels: npt.NDArray[np.int64],
    repeats: npt.NDArray[np.int64],
    count: int,
) -> Matrix:
    """Return rows with one column a channel; a channel with several entries gives several rows."""
    spread = np.zeros((int(repeats.max()) + 1, len(rows), count))
    spread[repeats, :, channels] = rows[:, entries].T
    return spread.reshape(-1, count)


def pivots(matrix: Matrix) -> Sequence[int]:
    """Return the columns in the order in which QR with column pivoting chooses them.

    Modified Gram-Schmidt: the column with the largest rest is next, and its direction is taken out
    of the others. Of equal rests the first counts; once no rest is above rounding, the columns that
    are left follow by their lengths.

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
