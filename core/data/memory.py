"""Memory that images and what is made of them take again and again."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["keep_freed"]

LARGEST_KEPT_BLOCK = 31 << 20
"""Bytes of a block just below the largest that glibc keeps, 4 MiB · sizeof(long)."""


@cache
def keep_freed() -> None:
    """Have glibc keep the memory of arrays that are gone, up to 31 MiB each, for the next ones.

    It asks the system for every block above a threshold and gives it back afterwards, and the
    system fills each page with zeros anew: for an image that is read, resized and split into
    planes, a third of the time. The threshold rises to the size of each larger block that is freed
    (mallopt(3), M_MMAP_THRESHOLD), so one is, without touching its pages. Elsewhere that does
    nothing.
    """
    np.empty(LARGEST_KEPT_BLOCK, np.uint8)
