"""Reusing the memory of freed images."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["keep_freed"]

LARGEST_KEPT_BLOCK = 31 << 20
"""Bytes just below those of the largest block that glibc keeps, 4 MiB · sizeof(long) = 32 MiB."""


@cache
def keep_freed() -> None:
    """Make glibc keep the memory of freed arrays, up to 31 MiB each, for the next arrays.

    By default glibc requests each block above a threshold from the system and returns it when it is
    freed. The system fills every page of a new block with zeros, which takes a third of the time of
    reading an image, resizing it and splitting it into planes. Freeing a larger block raises the
    threshold to its size (mallopt(3), M_MMAP_THRESHOLD), so this function allocates and frees one,
    without touching its pages. Without glibc that has no effect.
    """
    np.empty(LARGEST_KEPT_BLOCK, np.uint8)
