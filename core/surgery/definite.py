"""Inverses of, and solutions with, symmetric positive definite matrices, by Cholesky factors.

That is what covariances with a ridge are. Rounding may leave one that is not definite all the
same; it is then treated like any other matrix.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from .operators import Array

__all__ = ["inverse", "solution"]

STRIP = 512
"""Rows that are mirrored at once."""


def inverse(matrix: Array) -> Array:
    """Return the inverse of a symmetric positive definite matrix.

    Args:
        matrix: [columns, columns] or [groups, columns, columns], float32 or float64.

    Raises:
        numpy.linalg.LinAlgError: it is singular.
    """
    if matrix.ndim > 2:
        return np.stack([inverse(part) for part in matrix])
    if not matrix.size:
        return matrix
    factor, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (matrix,))
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
    if matrix.ndim > 2:
        return np.stack([solution(*pair) for pair in zip(matrix, right, strict=True)])
    if not matrix.size:
        return right
    try:
        factor = scipy.linalg.cholesky(matrix, lower=False, check_finite=False)
    except np.linalg.LinAlgError:
        return np.linalg.solve(matrix, right)
    found: Array = scipy.linalg.cho_solve((factor, False), right, check_finite=False)
    return found
