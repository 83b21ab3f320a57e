"""Bilinear resizing that keeps the corner pixels in place, computed in single precision.

A pixel of the result at column c is read at c · (width − 1) / (new width − 1); rows alike.
Source: image.c `resize_image` (pjreddie 61c9d02), the same in AlexeyAB's.
"""

from __future__ import annotations

import functools
import math
import threading

import numpy as np

__all__ = ["resized_by_corners"]

STRIP = 1 << 20
"""Bytes that each array in between may take, about: they should stay in the second cache. With a
quarter of it two threads together took as long as one, since every short operation of NumPy takes
Python's lock anew; with this they take two thirds."""

_SCRATCH = threading.local()


def resized_by_corners(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image (H×W or H×W×C, any number type) in another size, as float32.

    Colour images of 8 bits come back with a fourth channel, which means nothing.
    """
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        # Four bytes a pixel: columns can then be picked as single numbers, several times faster.
        import cv2

        four = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
        return _resized(four, height, width)
    return _resized(image, height, width)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    column, across = _places(image.shape[1], width, exact_end=True)
    row, down = _places(image.shape[0], height)
    beside = np.minimum(column + 1, image.shape[1] - 1)
    below = np.minimum(row + 1, image.shape[0] - 1)
    # A number for each value, not each pixel: loops over the few values of a pixel are slow.
    across = np.repeat(across, math.prod(image.shape[2:])).reshape(-1, *image.shape[2:])
    down = down.reshape(-1, *(1,) * (image.ndim - 1))
    result = np.empty((height, width, *image.shape[2:]), np.float32)
    # A few rows at a time, so that what is made in between stays in the cache.
    old_rows = STRIP // (4 * math.prod(result.shape[1:]))
    rows = max(1, int(old_rows * min(1.0, height / image.shape[0])))
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        first = int(row[start])
        strip = image[first : int(below[stop - 1]) + 1]
        pixels, others = _scratch((max(len(strip), stop - start), *result.shape[1:]))
        old, right = pixels[: len(strip)], others[: len(strip)]
        _pick_columns(strip, column, old)
        _pick_columns(strip, beside, right)
        _mix(old, right, across)
        part = result[start:stop]
        np.take(old, row[start:stop] - first, axis=0, out=part, mode="clip")
        if image.shape[0] > 1:
            inner = stop - start - (stop == height)
            under = others[:inner]
            np.take(old, below[start : start + inner] - first, axis=0, out=under, mode="clip")
            _mix(part[:inner], under, down[start : start + inner])
    if image.shape[0] > 1:
        result[-1] *= 1 - down[-1]
    return result


def _scratch(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return two float32 arrays to work in, the same memory for every image of a thread.

    The system would give and take back fresh pages for each image, which costs as much as the work.
    """
    size = math.prod(shape)
    kept: np.ndarray | None = getattr(_SCRATCH, "array", None)
    if kept is None or kept.size < 2 * size:
        kept = _SCRATCH.array = np.empty(2 * size, np.float32)
    return kept[:size].reshape(shape), kept[size : 2 * size].reshape(shape)


def _pick_columns(image: np.ndarray, places: np.ndarray, result: np.ndarray) -> None:
    """Write columns of an image into `result`."""
    if image.dtype == np.uint8 and image.shape[2:] == (4,):
        chosen = np.take(image.view(np.uint32)[..., 0], places, axis=1, mode="clip")
        np.copyto(result, chosen.view(np.uint8).reshape(*chosen.shape, 4))
    else:
        np.copyto(result, np.take(image, places, axis=1), casting="same_kind")


def _mix(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> None:
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
