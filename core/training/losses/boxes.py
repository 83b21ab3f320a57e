"""Overlaps of boxes and what heads take for their derivatives. Source: box.c.

A box is centre x, centre y, width, height. The derivatives are those of the engine: those by width
and height lack a factor of ½, and terms of distance and shape have signs of their own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..framework import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Box", "overlap", "overlaps", "pull"]


class Box(NamedTuple):
    """Centre, width and height."""

    x: float
    y: float
    w: float
    h: float


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Return intersection over union of each box with each other one, M×T.

    Args:
        boxes: M×4.
        others: T×4.
    """
    a, b = boxes.unsqueeze(1), others.unsqueeze(0)
    near = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    far = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    sides = near - far
    common = torch.where((sides < 0).any(-1), 0.0, sides[..., 0] * sides[..., 1])
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - common
    return torch.where((common == 0) | (union == 0), 0.0, common / union)


def _ends(place: float, size: float) -> tuple[float, float]:
    return place - size / 2, place + size / 2


def overlap(a: Box, b: Box, kind: str = "iou") -> float:
    """Return how far two boxes overlap: "iou", "giou", "diou" or "ciou"."""
    (al, ar), (at, ab) = _ends(a.x, a.w), _ends(a.y, a.h)
    (bl, br), (bt, bb) = _ends(b.x, b.w), _ends(b.y, b.h)
    width, height = min(ar, br) - max(al, bl), min(ab, bb) - max(at, bt)
    common = 0.0 if width < 0 or height < 0 else width * height
    union = a.w * a.h + b.w * b.h - common
    iou = 0.0 if common == 0 or union == 0 else common / union
    outer_w, outer_h = max(ar, br) - min(al, bl), max(ab, bb) - min(at, bt)
    if kind == "giou":
        outer = outer_w * outer_h
        return iou if outer == 0 else iou - (outer - union) / outer
    if kind not in ("diou", "ciou"):
        return iou
    diagonal = outer_w**2 + outer_h**2
    if diagonal == 0:
        return iou
    apart = ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) / diagonal
    if kind == "diou":
        return float(iou - apart**0.6)
    if a.h == 0 or b.h == 0:
        return iou - apart
    shape = 4 / math.pi**2 * (math.atan(b.w / b.h) - math.atan(a.w / a.h)) ** 2
    return iou - apart - shape / (1 - iou + shape + 1e-6) * shape


class _Corners(NamedTuple):
    """One number for each of top, bottom, left, right."""

    t: float
    b: float
    l: float  # noqa: E741
    r: float


def pull(a: Box, b: Box, kind: str) -> tuple[float, float, float, float]:
    """Return what moves box `a` towards `b`, by x, y, width and height.

    Args:
        a: the prediction; sides of 0 count as 1.
        b: the truth.
        kind: "iou", "giou", "diou" or "ciou".
    """
    a = Box(a.x, a.y, a.w or 1.0, a.h or 1.0)
    (pl, pr), (pt, pb) = map(sorted, (_ends(a.x, a.w), _ends(a.y, a.h)))
    (tl, tr), (tt, tb) = _ends(b.x, b.w), _ends(b.y, b.h)
    height, width = min(pb, tb) - max(pt, tt), min(pr, tr) - max(pl, tl)
    common = width * height  # two negative sides give a positive one, as in the engine
    size = (pb - pt) * (pr - pl)
    union = size + (tb - tt) * (tr - tl) - common
    outer_w, outer_h = max(pr, tr) - min(pl, tl), max(pb, tb) - min(pt, tt)
    outer = outer_w * outer_h
    dx = _Corners(-(pr - pl), pr - pl, -(pb - pt), pb - pt)
    di = _Corners(
        -width if pt > tt else 0.0, width if pb < tb else 0.0,
        -height if pl > tl else 0.0, height if pr < tr else 0.0,
    )  # fmt: skip
    du = _Corners(*(x - i for x, i in zip(dx, di, strict=True)))
    dc = _Corners(
        -outer_w if pt < tt else 0.0, outer_w if pb > tb else 0.0,
        -outer_h if pl < tl else 0.0, outer_h if pr > tr else 0.0,
    )  # fmt: skip
    p = _Corners(0.0, 0.0, 0.0, 0.0)
    if union > 0:
        p = _Corners(*((union * i - common * u) / union**2 for i, u in zip(di, du, strict=True)))
    p = _turned(p, a)
    apart = width <= 0 or height <= 0
    if kind == "giou":
        rest = [_ratio(outer * u - union * c, outer**2) for u, c in zip(du, dc, strict=True)]
        if outer > 0:
            p = _Corners(*(x + y for x, y in zip(p, rest, strict=True)))
        if apart:
            p = _Corners(*rest)
    pulls = (p.l + p.r, p.t + p.b, p.r - p.l, p.b - p.t)
    if kind not in ("diou", "ciou"):
        return pulls
    more, diagonal = _distance(a, b, kind, _ratio(common, union))
    if apart:
        return more
    if diagonal > 0:
        return tuple(x + y for x, y in zip(pulls, more, strict=True))  # type: ignore[return-value]
    return pulls


def _turned(p: _Corners, a: Box) -> _Corners:
    """Return derivatives for the right corners where a side is negative."""
    top, left = a.h > 0, a.w > 0
    return _Corners(p.t if top else p.b, p.b, p.l if left else p.r, p.r)


def _ratio(dividend: float, divisor: float) -> float:
    """Return a quotient as C does: not a number where both are 0."""
    if divisor:
        return dividend / divisor
    return math.nan if dividend == 0 else math.copysign(math.inf, dividend)


def _distance(
    a: Box, b: Box, kind: str, iou: float
) -> tuple[tuple[float, float, float, float], float]:
    """Return the derivatives of the terms of distance and shape, and the squared diagonal."""
    (pl, pr), (pt, pb) = _ends(a.x, a.w), _ends(a.y, a.h)
    (tl, tr), (tt, tb) = _ends(b.x, b.w), _ends(b.y, b.h)
    outer_w, outer_h = max(pr, tr) - min(pl, tl), max(pb, tb) - min(pt, tt)
    diagonal = outer_w**2 + outer_h**2
    square = (a.x - b.x) ** 2 + (a.y - b.y) ** 2
    left, right, top, bottom = pl < tl, pr > tr, pt < tt, pb > tb
    along_x, along_y = 2 * outer_w * (right - left), 2 * outer_h * (bottom - top)
    wide, high = outer_w * (right + left), outer_h * (bottom + top)
    found = [
        _ratio(2 * (b.x - a.x) * diagonal - along_x * square, diagonal**2),
        _ratio(2 * (b.y - a.y) * diagonal - along_y * square, diagonal**2),
        _ratio(wide * square, diagonal**2),
        _ratio(high * square, diagonal**2),
    ]
    if kind == "ciou":
        turn = math.atan(_ratio(b.w, b.h)) - math.atan(_ratio(a.w, a.h))
        shape = 4 / math.pi**2 * turn**2
        alpha = _ratio(shape, 1 - iou + shape + 1e-6)
        found[2] += alpha * 8 / math.pi**2 * turn * a.h
        found[3] -= alpha * 8 / math.pi**2 * turn * a.w
    return (found[0], found[1], found[2], found[3]), diagonal
