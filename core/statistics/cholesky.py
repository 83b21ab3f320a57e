"""Inverses of symmetric positive definite matrices, and solutions, by Cholesky factors.

A covariance with a ridge is positive definite. If rounding makes it indefinite all the same, a
general solver takes over.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController

from .operators import Array

__all__ = ["inverse", "solution"]

ROWS_MIRRORED_AT_ONCE = 512
"""Rows of the upper triangle that are copied to the lower one at once."""

COLUMNS_WORTH_THREADS = 1024
"""Columns from which on a factorization gets more than one thread.

SciPy may come with a BLAS of its own. Its threads and those of NumPy's BLAS then wait for work on
the same cores. Below this size the waiting costs more than a second thread saves (on two cores,
400 columns took 2.3 times as long).
"""

COLUMNS_OF_ONE_CALL = 32
"""Columns up to which one call of NumPy treats all groups: depthwise layers have hundreds."""


@functools.cache
def _own() -> ThreadpoolController:
    """Return a controller of SciPy's own BLAS; of nothing if SciPy shares the BLAS of NumPy."""
    found = ThreadpoolController().select(user_api="blas")
    paths = [Path(library["filepath"]) for library in found.info()]
    own = [path for path in paths if any(part.startswith("scipy") for part in path.parts[:-1])]
    return found.select(filepath=[str(path) for path in own])


def _threads(columns: int) -> AbstractContextManager[object]:
    """Return a context in which SciPy factors a matrix: with one thread if it is small."""
    return nullcontext() if columns >= COLUMNS_WORTH_THREADS else _own().limit(limits=1)


def inverse(matrix: Array) -> Array:
    """Return the inverse of a symmetric positive definite matrix.

    Args:
        matrix: [columns, columns] or [groups, columns, columns], float32 or float64.

    Raises:
        numpy.linalg.LinAlgError: it is singular.
    """
    if matrix.ndim > 2 and len(matrix) > 1 and matrix.shape[-1] <= COLUMNS_OF_ONE_CALL:
        return np.linalg.inv(matrix)
    if matrix.ndim > 2:
        return np.stack([inverse(part) for part in matrix])
    if not matrix.size:
        return matrix
    factor, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (matrix,))
    with _threads(len(matrix)):
        # The lower triangle of LAPACK's column-major matrix is NumPy's upper triangle.
        found, failed = factor(matrix.T, lower=True, clean=False)
        if not failed:
            found, failed = invert(found, lower=True, overwrite_c=True)
    if failed:
        return np.linalg.inv(matrix)
    mirrored: Array = found.T
    for start in range(0, len(found), ROWS_MIRRORED_AT_ONCE):
        end = start + ROWS_MIRRORED_AT_ONCE
        strip = slice(start, end)
        corner = np.triu(mirrored[strip, strip])
        mirrored[strip, strip] = corner + np.triu(corner, 1).T
        mirrored[end:, strip] = mirrored[strip, end:].T
    return mirrored


def solution(matrix: Array, right: Array) -> Array:
    """Return matrix⁻¹ · right for a symmetric positive definite matrix.

    Args:
        matrix: [columns, columns] or [groups, columns, columns], float32 or float64.
        right: [columns, any] or [groups, columns, any].

    Raises:
        numpy.linalg.LinAlgError: the matrix is singular.
    """
    if matrix.ndim > 2 and len(matrix) > 1 and matrix.shape[-1] <= COLUMNS_OF_ONE_CALL:
        return np.linalg.solve(matrix, right)
    if matrix.ndim > 2:
        return np.stack([solution(*pair) for pair in zip(matrix, right, strict=True)])
    if not matrix.size:
        return right
    with _threads(len(matrix)):
        try:
            factor = scipy.linalg.cholesky(matrix, lower=False, check_finite=False)
        except np.linalg.LinAlgError:
            return np.linalg.solve(matrix, right)
        found: Array = scipy.linalg.cho_solve((factor, False), right, check_finite=False)
        return found
