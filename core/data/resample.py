"""Bilinear resizing that keeps the corner pixels in place, computed in single precision.

A pixel of the result at column c is read at c · (width − 1) / (new width − 1); rows alike.
Source: image.c `resize_image` (pjreddie 61c9d02), the same in AlexeyAB's.
"""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["resized_by_corners"]


def resized_by_corners(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image (H×W or H×W×C, any number type) in another size, as float32."""
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    tail = (1,) * (image.ndim - 1)
    row, down = _places(image.shape[0], height)
    down = down.reshape(-1, *tail)
    pixels = image[row].astype(np.float32)
    if image.shape[0] > 1:
        below = image[row[:-1] + 1].astype(np.float32)
        _mixed(pixels[:-1], below, down[:-1])
        pixels[-1] *= 1 - down[-1]
    column, across = _places(image.shape[1], width, exact_end=True)
    beside = np.take(pixels, np.minimum(column + 1, image.shape[1] - 1), axis=1)
    pixels = np.take(pixels, column, axis=1)
    _mixed(pixels, beside, across.reshape(-1, *tail[1:]))
    return pixels


def _mixed(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> None:
    """Turn `first` into `first` · (1 − part) + `second` · part, and spoil `second`."""
    second -= first
    second *= part
    first += second


@functools.lru_cache(maxsize=256)
def _places(old: int, new: int, *, exact_end: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return for each new pixel the old one before it, and the distance to it.

    NOTE for developers: the reference takes the last column from the last old one, but the last
    row only by its factor of the row before, which rounding can make a factor near 0. Both are
    kept, since a network was trained with them.
    """
    step = np.float32(old - 1) / np.float32(new - 1) if new > 1 else np.float32(0)
    places = np.arange(new, dtype=np.float32) * step
    before = np.minimum(places.astype(np.int64), old - 1)
    distance = (places - before).astype(np.float32)
    if old == 1 or exact_end:
        last = slice(0, None) if old == 1 else slice(new - 1, None)
        before[last], distance[last] = old - 1, 0
    return before, distance
