"""Inverses of, and solutions with, symmetric positive definite matrices, by Cholesky factors.

That is what covariances with a ridge are. Rounding may leave one that is not definite all the
same; it is then treated like any other matrix.
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

STRIP = 512
"""Rows that are mirrored at once."""

LARGE = 1024
"""Columns from which on a factor is worth more than one thread.

SciPy may come with a BLAS of its own. Its threads and those of NumPy's then wait for work side by
side, on the same cores: below this size that costs more than a second thread brings (on two cores,
400 columns took 2.3 times as long).
"""

SMALL = 32
"""Columns up to which NumPy does all groups in one call: depthwise layers have hundreds of them."""


@functools.cache
def _own() -> ThreadpoolController:
    """Return the linear algebra that SciPy brought along; nothing where it shares NumPy's."""
    found = ThreadpoolController().select(user_api="blas")
    paths = [Path(library["filepath"]) for library in found.info()]
    own = [path for path in paths if any(part.startswith("scipy") for part in path.parts[:-1])]
    return found.select(filepath=[str(path) for path in own])


def _threads(columns: int) -> AbstractContextManager[object]:
    """Return a context with one thread for small matrices."""
    return nullcontext() if columns >= LARGE else _own().limit(limits=1)


def inverse(matrix: Array) -> Array:
    """Return the inverse of a symmetric positive definite matrix.

    Args:
        matrix: [columns, columns] or [groups, columns, columns], float32 or float64.

    Raises:
        numpy.linalg.LinAlgError: it is singular.
    """
    if matrix.ndim > 2 and len(matrix) > 1 and matrix.shape[-1] <= SMALL:
        return np.linalg.inv(matrix)
    if matrix.ndim > 2:
        return np.stack([inverse(part) for part in matrix])
    if not matrix.size:
        return matrix
    factor, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (matrix,))
    with _threads(len(matrix)):
        # LAPACK's lower triangle, by columns, is the upper one by rows.
        found, failed = factor(matrix.T, lower=True, clean=False)
        if not failed:
            found, failed = invert(found, lower=True, overwrite_c=True)
    if failed:
        return np.linalg.inv(matrix)
    mirrored: Array = found.T
    for start in range(0, len(found), STRIP):
        strip = slice(start, start + STRIP)
        corner = np.triu(mirrored[strip, strip])
        mirrored[strip, strip] = corner + np.triu(corner, 1).T
        mirrored[start + STRIP :, strip] = mirrored[strip, start + STRIP :].T
    return mirrored


def solution(matrix: Array, right: Array) -> Array:
    """Return matrix⁻¹ · right for a symmetric positive definite matrix.

    Args:
        matrix: [columns, columns] or [groups, columns, columns], float32 or float64.
        right: [columns, any] or [groups, columns, any].

    Raises:
        numpy.linalg.LinAlgError: the matrix is singular.
    """
    if matrix.ndim > 2 and len(matrix) > 1 and matrix.shape[-1] <= SMALL:
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
