"""Convolutions on a periodic grid, written as matrices: the slow way to their norms."""

from __future__ import annotations

import numpy as np


def periodic(kernel, stride, size=16):
    """Return a convolution on a periodic grid as a matrix."""
    rows = []
    for y in range(0, size, stride):
        for x in range(0, size, stride):
            row = np.zeros((size, size))
            for (i, j), tap in np.ndenumerate(kernel):
                row[(y + i) % size, (x + j) % size] += tap
            rows.append(row.ravel())
    return np.array(rows)
