"""The ridge of least squares, chosen by cross-validation.

Weights fitted to few samples, or to samples that resemble each other, do well on these samples
only. A ridge limits that; the best one depends on the data, so it is measured. A fit is made on
every other sample and judged on the rest (cross-validation with two folds; Stone, Cross-Validatory
Choice and Assessment of Statistical Predictions, 1974). The ridge that is best for half of the
samples is twice the ridge that all samples need, since the variance of a fit falls with their
number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .operators import Array

__all__ = [
    "DEFAULT_RIDGE",
    "FULL_DATA_FACTOR",
    "WIDE_COLUMNS",
    "best_ridge",
    "by_turns",
    "spread",
]

DEFAULT_RIDGE = 1e-2
"""The ridge, relative to the mean variance of an input, where there are too few samples for
cross-validation. Elsewhere it is the first that is tried."""

FULL_DATA_FACTOR = 0.5
"""The ridge for all samples, divided by the best ridge for half of them."""

RIDGES_TRIED = (DEFAULT_RIDGE, 1e-3, 1e-1, 1.0, 1e1, 1e2)
"""Ridges that are tried, relative to the mean variance of an input. All are: the error may have
several minima."""

REFINEMENT = 10.0**0.5
"""Factor by which the best of the ridges tried is then varied, up and down."""

RIDGES_TRIED_WHEN_WIDE = (DEFAULT_RIDGE, 1e-1, 1.0, 1e1)
"""Ridges tried for operators with more than :data:`WIDE_COLUMNS`, whose trials take long."""

WIDE_COLUMNS = 512
"""Columns (inputs · taps) up to which the time of trials does not matter."""

OUTPUTS_TRIED = 256
"""Most outputs that a ridge is judged on. One ridge serves all outputs, so this many suffice."""


def best_ridge(error: Callable[[float], float], columns: int) -> float:
    """Return the ridge with the least error; :data:`DEFAULT_RIDGE` if all errors are equal.

    Args:
        error: ridge → error on samples that the fit has not seen.
        columns: number of weights of an output.
    """
    best, least = DEFAULT_RIDGE, np.inf
    for ridge in RIDGES_TRIED_WHEN_WIDE if columns > WIDE_COLUMNS else RIDGES_TRIED:
        now = error(ridge)
        if now < least:
            best, least = ridge, now
    if columns > WIDE_COLUMNS:
        return best
    for ridge in (best * REFINEMENT, best / REFINEMENT):
        now = error(ridge)
        if now < least:
            best, least = ridge, now
    return best


def spread(outputs: Array, axis: int = 0) -> Array:
    """Return at most :data:`OUTPUTS_TRIED` of the outputs along an axis, evenly spread."""
    step = -(-outputs.shape[axis] // OUTPUTS_TRIED) or 1
    return outputs[(slice(None),) * axis + (slice(None, None, step),)]


def by_turns(rows: Array, samples: int, start: int) -> tuple[Array, Array]:
    """Return the rows of the samples with an even and of those with an odd number.

    Args:
        rows: [groups, samples · positions, …].
        samples: number of samples.
        start: number of the first sample.

    Returns:
        two arrays [groups, samples of this kind · positions, …].
    """
    each = rows.reshape(rows.shape[0], samples, -1, *rows.shape[2:])
    first, second = (
        np.ascontiguousarray(each[:, turn % 2 :: 2]).reshape(rows.shape[0], -1, *rows.shape[2:])
        for turn in (start, start + 1)
    )
    return first, second
