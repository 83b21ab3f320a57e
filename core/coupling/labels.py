"""Labels of channels, and the union of labels that must go together.

Every produced channel has an integer label. The labels of a value vary along one axis, its channel
axis, and are equal along all others: a :class:`Labels` is that axis and one vector. Operators that
scatter a channel over several axes (a reshape of the channel axis into groups) are brought back to
this form by :func:`align`, which unites the labels that can only leave as one slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LabelVector", "Labels", "Unions", "align"]

LabelVector = npt.NDArray[np.int64]

HALF = 31
"""Bits of a label: half of an int64 without its sign."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one value.

    Args:
        shape: the value's shape; symbolic dimensions count as 1.
        axis: the channel axis, or None where the whole value bears one label.
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
    """Pairs of labels that must go together, and the units they form."""

    def __init__(self) -> None:
        self._pairs: list[LabelVector] = []

    def unite(self, first: npt.ArrayLike, second: npt.ArrayLike) -> None:
        """Unite labels position by position; the arrays are broadcast against each other."""
        one, other = (np.asarray(side, dtype=np.int64) for side in (first, second))
        if one.shape != other.shape:
            one, other = np.broadcast_arrays(one, other)
        # Both in one number, since NumPy finds unique numbers much faster than unique pairs.
        numbers = np.unique(((one << HALF) | other)[one != other])
        if numbers.size:
            self._pairs.append(np.stack([numbers >> HALF, numbers & ((1 << HALF) - 1)]))

    def roots(self, count: int) -> LabelVector:
        """Return for each of `count` labels the smallest label of its unit."""
        pairs = np.concatenate(self._pairs, axis=1) if self._pairs else np.empty((2, 0), np.int64)
        return components(count, pairs)


def components(count: int, pairs: LabelVector) -> LabelVector:
    """Return the smallest member of each node's connected component.

    Hooking and pointer jumping, vectorised: every round hooks the larger root of each pair onto
    the smaller one, then flattens the trees; rounds are logarithmic in the longest chain.
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
    """Return `array` as :class:`Labels`, uniting what can only leave as one slice of an axis.

    The axis that keeps the most units apart becomes the channel axis; the labels inside each of
    its slices are united. `array` may have size 1 where `shape` is larger (labels equal there).
    """
    # Along axes without stride it is one element anyway, and large arrays become small.
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
    """Return how many units are left when each slice along `axis` becomes one."""
    slices = _slices(array, axis)
    known, positions = np.unique(slices, return_inverse=True)
    positions = positions.reshape(slices.shape)
    pairs = np.stack(
        [np.broadcast_to(positions[:, :1], positions.shape).ravel(), positions.ravel()]
    )
    return len(np.unique(components(len(known), pairs)))
