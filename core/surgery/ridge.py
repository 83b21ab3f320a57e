"""How far least squares may be trusted: the ridge that does best on samples the fit has not seen.

Weights fitted to few samples, or to many that resemble each other, do well on these samples alone.
How much so depends on what the data is like, so it is measured: every fit is made on every other
sample and tried on the rest (cross-validation with two folds; Stone, Cross-Validatory Choice and
Assessment of Statistical Predictions, 1974). The ridge that is best for half of the samples is
twice what all of them need, since the variance of a fit falls with their number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .operators import Array

__all__ = ["HALF", "RIDGE", "best_ridge", "by_turns"]

RIDGE = 1e-2
"""The ridge where there are too few samples to try others, relative to the mean variance of an
input, and the first that is tried elsewhere."""

HALF = 0.5
"""What a ridge found on half of the samples is multiplied by for all of them."""

STEP = 10.0**0.5
SMALLEST, LARGEST = 1e-3, 1e3


def best_ridge(error: Callable[[float], float]) -> float:
    """Return the ridge with the least error, found by walking downhill from :data:`RIDGE`.

    Args:
        error: ridge → error on samples that the fit has not seen.
    """
    best, least = RIDGE, error(RIDGE)
    for step in (STEP, 1 / STEP):
        found = best
        while SMALLEST < found < LARGEST:
            found *= step
            now = error(found)
            if not now < least:
                break
            best, least = found, now
        if best != RIDGE:
            break
    return best


def by_turns(rows: Array, samples: int, start: int) -> tuple[Array, Array]:
    """Return the rows of samples with an even and with an odd number.

    Args:
        rows: [groups, samples · positions, …].
        samples: how many samples.
        start: number of the first one.
    """
    each = rows.reshape(rows.shape[0], samples, -1, *rows.shape[2:])
    first, second = (
        np.ascontiguousarray(each[:, turn % 2 :: 2]).reshape(rows.shape[0], -1, *rows.shape[2:])
        for turn in (start, start + 1)
    )
    return first, second
