"""Boxes as corners x0, y0, x1, y1: how far they overlap, and which of them are kept."""

from __future__ import annotations

import numpy as np

AT_ONCE = 2000
"""Up to so many boxes, all overlaps are computed together."""

__all__ = ["corners", "overlaps", "suppressed"]


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
        worse = np.triu(overlaps(ordered, ordered) > threshold, 1)
        left = np.ones(len(order), bool)
        for place in np.flatnonzero(worse.any(axis=1)).tolist():
            if left[place]:
                left &= ~worse[place]
        return np.asarray(order[left])
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
