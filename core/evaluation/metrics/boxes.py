"""Boxes as corners x0, y0, x1, y1: how far they overlap, and which of them are kept."""

from __future__ import annotations

import numpy as np

AT_ONCE = 2000
"""Up to so many boxes, all overlaps are computed together."""

STRIP = 32
"""Boxes whose overlaps with all others are held at once as numbers."""

__all__ = ["Apart", "corners", "overlaps", "suppressed", "suppressed_together"]


def corners(centres: np.ndarray) -> np.ndarray:
    """Return n×4 boxes x0, y0, x1, y1 from x, y of the middle, width, height."""
    half = centres[:, 2:] / 2
    return np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)


def overlaps(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Return intersection over union of every box in `a` (n×4) with every one in `b` (m×4).

    Args:
        a: boxes.
        b: boxes.
        crowd: m bool: for these, the intersection over the area of the box in `a`, as COCO does.

    Returns:
        n×m; 0 where both have no area.
    """
    # Column by column: small arrays with the coordinates along the last axis take far longer.
    ax0, ay0, ax1, ay1 = a.T[:, :, None]
    bx0, by0, bx1, by1 = b.T[:, None, :]
    wide = np.minimum(ax1, bx1) - np.maximum(ax0, bx0)
    high = np.minimum(ay1, by1) - np.maximum(ay0, by0)
    with np.errstate(over="ignore", invalid="ignore"):  # boxes of an untrained head are endless
        both = np.maximum(wide, 0) * np.maximum(high, 0)
        area_a = np.maximum(ax1 - ax0, 0) * np.maximum(ay1 - ay0, 0)
        area_b = np.maximum(bx1 - bx0, 0) * np.maximum(by1 - by0, 0)
        union = area_a + area_b - both
    if crowd is not None:
        union = np.where(crowd[None], area_a, union)
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))


def suppressed(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, *, eta: float = 1.0
) -> np.ndarray:
    """Return which boxes of one class are left by greedy non-maximum suppression.

    Boxes are taken by falling score; one goes where it overlaps one that was kept by more than
    the threshold.

    Args:
        boxes: n×4.
        scores: n.
        threshold: intersection over union.
        eta: below 1, the threshold shrinks by it after each box that is kept, while above 0.5.

    Returns:
        positions in falling order of the scores; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    if eta == 1 and len(order) <= AT_ONCE:
        ordered = boxes[order]
        return np.asarray(order[_left(overlaps(ordered, ordered) > threshold)])
    if eta < 1:
        for place in order:
            if not kept or overlaps(boxes[[place]], boxes[kept]).max() <= threshold:
                kept.append(int(place))
                threshold *= eta if threshold > 0.5 else 1.0
        return np.array(kept, np.int64)
    while order.size:
        best = order[0]
        kept.append(int(best))
        rest = order[1:]
        order = rest[overlaps(boxes[[best]], boxes[rest])[0] <= threshold]
    return np.array(kept, np.int64)


def suppressed_together(boxes: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
    """Return which boxes :func:`suppressed` leaves of each class, computed for all at once.

    Args:
        boxes: n×4; those of a class by falling score.
        classes: n.
        threshold: intersection over union.

    Returns:
        n bool.
    """
    near = overlaps(boxes, boxes) > threshold
    return _left(near & (classes[:, None] == classes))


def _left(near: np.ndarray) -> np.ndarray:
    """Return which boxes are left where each one takes away those behind it that are near."""
    worse = np.triu(near, 1)
    left = np.ones(len(near), bool)
    for place in np.flatnonzero(worse.any(axis=1)).tolist():
        if left[place]:
            left &= ~worse[place]
    return left


class Apart:
    """Which boxes may stand beside which: for many classes that share their boxes.

    One bit a pair is held, so 10,000 boxes take 13 MB.

    Args:
        boxes: n×4.
        threshold: intersection over union above which two do not.
    """

    def __init__(self, boxes: np.ndarray, threshold: float):
        self._rows = np.concatenate(
            [
                np.packbits(overlaps(boxes[start : start + STRIP], boxes) <= threshold, axis=1)
                for start in range(0, len(boxes), STRIP)
            ]
        )

    def suppressed(self, order: np.ndarray) -> np.ndarray:
        """Return what :func:`suppressed` does, for boxes of one class by falling score.

        Args:
            order: numbers of the boxes.

        Returns:
            positions in `order`.
        """
        left = np.full(self._rows.shape[1], 0xFF, np.uint8)
        kept = []
        for place, number in enumerate(order.tolist()):
            if left[number >> 3] & (0x80 >> (number & 7)):
                kept.append(place)
                left &= self._rows[number]
        return np.array(kept, np.int64)
