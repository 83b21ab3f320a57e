"""Bilinear resizing that keeps the corner pixels in place, computed in single precision.

Column c of the result is column c · (width − 1) / (new width − 1) of the image, and so for rows.
Source: image.c `resize_image` (pjreddie 61c9d02), the same in AlexeyAB's.

Each direction is a product with a sparse matrix that has two numbers in each row. Among the
functions of the installed libraries, this takes the least time. It holds Python's lock only between
products, so that all cores can resize images at the same time.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.sparse import csr_array

__all__ = ["resized_by_corners"]

STRIP = 1 << 19
"""Bytes of float32 pixels that are resized at once: they should fit into the second-level cache."""


def resized_by_corners(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return 8-bit or float32 pixels (H×W or H×W×C, C up to 4) in another size, as float32."""
    import cv2

    own_height, own_width, *channels = image.shape
    if (own_height, own_width) == (height, width):
        return image.astype(np.float32)
    across = _mixing(own_width, width, exact_end=True)
    down = _mixing(own_height, height, exact_end=False)
    columns = np.empty((own_height, width, *channels), np.float32)
    rows = max(1, STRIP // image[:1].size // columns.itemsize)
    for start in range(0, own_height, rows):
        # Columns first, as in the reference: the order determines the rounding. The transposition
        # makes each column contiguous.
        strip = cv2.transpose(image[start : start + rows])
        mixed = across @ strip.astype(np.float32).reshape(own_width, -1)
        part = columns[start : start + rows]
        cv2.transpose(mixed.reshape(width, len(part), *channels), dst=part)
    return np.asarray(down @ columns.reshape(own_height, -1)).reshape(height, width, *channels)


@functools.lru_cache(maxsize=256)
def _mixing(old: int, new: int, *, exact_end: bool) -> csr_array:
    """Return the matrix (new × old) that interpolates each new line of pixels from two old ones.

    NOTE for developers: the reference copies the last old column, but computes the last row from
    the row before alone, with a factor that rounding may make nearly 0. Both are kept, since
    networks were trained with them.
    """
    step = np.float32(old - 1) / np.float32(new - 1) if new > 1 else np.float32(0)
    places = np.arange(new, dtype=np.float32) * step
    before = np.minimum(places.astype(np.int32), old - 1)
    distance = (places - before).astype(np.float32)
    if exact_end:
        before[-1], distance[-1] = old - 1, 0
    if old == 1:
        distance[:] = 0
    beside = np.minimum(before + 1, old - 1)
    factors = np.stack([1 - distance, distance], axis=1)
    factors[-1, 1] = 0
    pairs = np.stack([before, beside], axis=1)
    starts = np.arange(0, 2 * new + 1, 2, dtype=np.int32)
    return csr_array((factors.ravel(), pairs.ravel(), starts), shape=(new, old))
