"""Bilinear resizing that keeps the corner pixels in place, computed in single precision.

A pixel of the result at column c is read at c · (width − 1) / (new width − 1); rows alike.
Source: image.c `resize_image` (pjreddie 61c9d02), the same in AlexeyAB's.
"""

from __future__ import annotations

import functools
import math

import numpy as np

__all__ = ["resized_by_corners"]

STRIP = 1 << 18
"""Bytes that the rows made at once may take, about: they should stay in the second cache."""


def resized_by_corners(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image (H×W or H×W×C, any number type) in another size, as float32."""
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        # Four bytes a pixel: columns can then be picked as single numbers, several times faster.
        import cv2

        four = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
        return _resized(four, height, width)[..., :3]
    return _resized(image, height, width)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    column, across = _places(image.shape[1], width, exact_end=True)
    row, down = _places(image.shape[0], height)
    beside = np.minimum(column + 1, image.shape[1] - 1)
    # A number for each value, not each pixel: loops over the few values of a pixel are slow.
    across = np.repeat(across, math.prod(image.shape[2:])).reshape(-1, *image.shape[2:])
    down = down.reshape(-1, *(1,) * (image.ndim - 1))
    result = np.empty((height, width, *image.shape[2:]), np.float32)
    # A few rows at a time, so that what is made in between stays in the cache.
    old_rows = STRIP // (4 * math.prod(result.shape[1:]))
    rows = max(1, int(old_rows * min(1.0, height / image.shape[0])))
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        above = row[start:stop]
        below = np.minimum(above + 1, image.shape[0] - 1)
        first = int(above[0])
        strip = image[first : int(below[-1]) + 1]
        pixels = _columns(strip, column)
        _mixed(pixels, _columns(strip, beside), across)
        part = result[start:stop]
        part[...] = pixels[above - first]
        if image.shape[0] > 1:
            inner = stop - start - (stop == height)
            _mixed(part[:inner], pixels[(below - first)[:inner]], down[start:][:inner])
    if image.shape[0] > 1:
        result[-1] *= 1 - down[-1]
    return result


def _columns(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return columns of an image as float32."""
    if image.dtype == np.uint8 and image.shape[2:] == (4,):
        chosen = np.take(image.view(np.uint32)[..., 0], places, axis=1)
        return chosen.view(np.uint8).reshape(*chosen.shape, 4).astype(np.float32)
    return np.take(image, places, axis=1).astype(np.float32)


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
