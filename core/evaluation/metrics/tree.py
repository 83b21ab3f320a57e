"""Classes that form a tree: from probabilities among siblings to one class a box.

A tree is given as the parent of every class, negative where there is none; neighbours with one
parent are siblings, and a parent comes before its children.
Sources: tree.c `read_tree`, `hierarchy_predictions`, `hierarchy_top_prediction` (pjreddie 61c9d02,
AlexeyAB 2019); region_layer.c `get_region_detections`, `get_region_boxes`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import groupby

import numpy as np

__all__ = ["SURE", "absolute", "deepest", "last_sure", "sibling_counts"]

SURE = np.float32(0.5)
"""A class must be more probable than this. Source: detector.c, `hier_thresh` and the calls of
`get_network_boxes` that measure."""


def sibling_counts(parents: Sequence[int]) -> tuple[int, ...]:
    """Return how many classes there are in each group of siblings, in their order."""
    return tuple(len(list(group)) for _, group in groupby(parents))


def absolute(given: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """Return the probability of each class from its probability given its parent.

    Args:
        given: …×classes.
        parents: of the classes.
    """
    found = np.array(given)
    for start, stop in _groups(parents):
        if parents[start] >= 0:
            found[..., start:stop] *= found[..., parents[start], None]
    return found


def deepest(probabilities: np.ndarray, parents: tuple[int, ...]) -> int:
    """Return the class that a walk down from the roots ends at, always to the best child.

    NOTE for developers: the reference multiplies the absolute probabilities along the path once
    more, so that it stops earlier than :data:`SURE` says. So do we.

    Args:
        probabilities: absolute ones, float32.
        parents: of the classes.
    """
    groups, children = _groups(parents), _children(parents)
    start, stop = groups[0]
    reached = np.float32(1)
    while True:
        part = probabilities[start:stop]
        best = start + int(part.argmax()) if part.max() > 0 else 0
        reached = reached * max(part.max(), np.float32(0))
        if not reached > SURE:
            return best if start == 0 else parents[start]
        if best not in children:
            return best
        start, stop = children[best]


def last_sure(probabilities: np.ndarray) -> np.ndarray:
    """Return which classes count: the last one that is more probable than :data:`SURE`.

    Args:
        probabilities: boxes × classes, absolute.

    Returns:
        a mask of the same shape with at most one class a box.
    """
    sure = probabilities > SURE
    behind = np.cumsum(sure[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(sure & (behind == 1))


@functools.lru_cache(maxsize=8)
def _groups(parents: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return the first class of each group of siblings and the one behind its last."""
    stops = np.cumsum(sibling_counts(parents)).tolist()
    return tuple(zip([0, *stops[:-1]], stops, strict=True))


@functools.lru_cache(maxsize=8)
def _children(parents: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """Return the group of children of each class that has any; of several groups, the last."""
    return {parents[start]: (start, stop) for start, stop in _groups(parents)}
