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

__all__ = ["HALF", "MANY", "RIDGE", "best_ridge", "by_turns", "spread"]

RIDGE = 1e-2
"""The ridge where there are too few samples to try others, relative to the mean variance of an
input, and the first that is tried elsewhere."""

HALF = 0.5
"""What a ridge found on half of the samples is multiplied by for all of them."""

TRIED = (RIDGE, 1e-3, 1e-1, 1.0, 1e1, 1e2)
"""What is tried; errors may have several valleys, so none of these is passed over."""

STEP = 10.0**0.5
"""Once the best is known, it is tried by this much larger and smaller as well."""

FEW = (RIDGE, 1e-1, 1.0, 1e1)
"""What is tried of operators with more than :data:`MANY` columns: each trial takes long."""

MANY = 512
"""Columns (inputs · taps) up to which time for trials does not matter."""

OUTPUTS = 256
"""Outputs that a ridge is tried on at the most: they have it in common, so that many agree."""


def best_ridge(error: Callable[[float], float], columns: int) -> float:
    """Return the ridge with the least error, the first of :data:`TRIED` where all are the same.

    Args:
        error: ridge → error on samples that the fit has not seen.
        columns: how many weights an output has.
    """
    best, least = RIDGE, np.inf
    for ridge in FEW if columns > MANY else TRIED:
        now = error(ridge)
        if now < least:
            best, least = ridge, now
    if columns > MANY:
        return best
    for ridge in (best * STEP, best / STEP):
        now = error(ridge)
        if now < least:
            best, least = ridge, now
    return best


def spread(outputs: Array, axis: int = 0) -> Array:
    """Return some of the outputs along an axis, evenly spread, at the most :data:`OUTPUTS`."""
    step = -(-outputs.shape[axis] // OUTPUTS) or 1
    return outputs[(slice(None),) * axis + (slice(None, None, step),)]


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
