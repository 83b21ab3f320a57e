"""Labels of channels, and the union of labels that must be removed together.

Every produced channel has an integer label. The labels of a value vary along one axis, its channel
axis, and are equal along all others: :class:`Labels` holds that axis and one vector. An operator
that scatters a channel over several axes (a reshape of the channel axis into groups) makes labels
of another form. :func:`align` brings them back to this one: it unites the labels within each slice
of an axis, which can then only be removed as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .indices import LabelVector

__all__ = ["Labels", "Unions", "align"]

LABEL_BITS = 31
"""Bits of a label, so that a pair of labels fits into an int64 beside its sign."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one value.

    Args:
        shape: the value's shape; symbolic dimensions count as 1.
        axis: the channel axis; None where the whole value has one label.
        vector: one label for each index of `axis`, or a single one.
    """

    shape: tuple[int, ...]
    axis: int | None
    vector: LabelVector

    def array(self) -> LabelVector:
        """Return the labels in the shape of the value, as a view that costs no memory."""
        if self.axis is None:
            return np.broadcast_to(self.vector.reshape(()), self.shape)
        return np.broadcast_to(self._spread(), self.shape)

    def compact(self, full: Sequence[int] = ()) -> LabelVector:
        """Return the labels with size 1 along all axes but the channel axis and those in `full`."""
        sizes = [
            size if axis == self.axis or axis in full else 1 for axis, size in enumerate(self.shape)
        ]
        spread = self.vector.reshape([1] * len(self.shape)) if self.axis is None else self._spread()
        return np.broadcast_to(spread, sizes)

    def along(self, axis: int) -> LabelVector | None:
        """Return the labels along an axis, or None where they do not vary along it."""
        return self.vector if axis == self.axis else None

    def _spread(self) -> LabelVector:
        return self.vector.reshape([-1 if k == self.axis else 1 for k in range(len(self.shape))])


class Unions:
    """Pairs of labels that must be removed together, and the units that they form."""

    def __init__(self) -> None:
        self._pairs: list[LabelVector] = []

    def unite(self, first: npt.ArrayLike, second: npt.ArrayLike) -> None:
        """Unite two arrays of labels position by position, broadcast against each other."""
        one, other = (np.asarray(side, dtype=np.int64) for side in (first, second))
        if one.shape != other.shape:
            one, other = np.broadcast_arrays(one, other)
        # Both labels in one number: NumPy finds unique numbers much faster than unique pairs.
        numbers = np.unique(((one << LABEL_BITS) | other)[one != other])
        if numbers.size:
            self._pairs.append(np.stack([numbers >> LABEL_BITS, numbers & ((1 << LABEL_BITS) - 1)]))

    def roots(self, count: int) -> LabelVector:
        """Return for each of `count` labels the smallest label of its unit."""
        pairs = np.concatenate(self._pairs, axis=1) if self._pairs else np.empty((2, 0), np.int64)
        return components(count, pairs)


def components(count: int, pairs: LabelVector) -> LabelVector:
    """Return for each of `count` nodes the smallest member of its connected component.

    The method is hooking and pointer jumping (Shiloach and Vishkin, An O(log n) parallel
    connectivity algorithm, 1982), vectorised: every round hooks the larger root of each pair onto
    the smaller one, then flattens the trees. The number of rounds is logarithmic in the longest
    chain.

    Args:
        count: number of nodes.
        pairs: connected nodes, [2, pairs].
    """
    root = np.arange(count, dtype=np.int64)
    first, second = pairs
    while True:
        a, b = root[first], root[second]
        low, high = np.minimum(a, b), np.maximum(a, b)
        if np.array_equal(low, high):
            return root
        np.minimum.at(root, high, low)
        while not np.array_equal(root, jumped := root[root]):
            root = jumped


def align(array: LabelVector, shape: Sequence[int], unions: Unions) -> Labels:
    """Return an array of labels as :class:`Labels`, uniting the labels in each slice of one axis.

    The channel axis is the axis whose slices form the most units.

    Args:
        array: labels; size 1 along an axis of `shape` means that they are equal along it.
        shape: of the value.
        unions: where labels are united.
    """
    # Along an axis of stride 0 all elements are one; a single one keeps large arrays small.
    array = array[tuple(slice(None, None if stride else 1) for stride in array.strides)]
    varying = [k for k in range(array.ndim) if _varies(array, k)]
    if not varying:
        return Labels(tuple(shape), None, array.reshape(-1)[:1].copy())
    if len(varying) == 1:
        axis = varying[0]
        return Labels(tuple(shape), axis, _slices(array, axis)[:, 0].copy())
    best = max(varying, key=lambda axis: (_units(array, axis), -axis))
    slices = _slices(array, best)
    unions.unite(slices[:, :1], slices)
    return Labels(tuple(shape), best, slices[:, 0].copy())


def _slices(array: LabelVector, axis: int) -> LabelVector:
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def _varies(array: LabelVector, axis: int) -> bool:
    if array.shape[axis] == 1 or array.strides[axis] == 0:
        return False
    first = np.take(array, [0], axis=axis)
    return bool((array != first).any())


def _units(array: LabelVector, axis: int) -> int:
    """Return the number of units if the labels within each slice along `axis` are united."""
    slices = _slices(array, axis)
    known, positions = np.unique(slices, return_inverse=True)
    positions = positions.reshape(slices.shape)
    pairs = np.stack(
        [np.broadcast_to(positions[:, :1], positions.shape).ravel(), positions.ravel()]
    )
    return len(np.unique(components(len(known), pairs)))
