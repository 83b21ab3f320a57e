"""The inverse of a covariance, updated whenever columns are removed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .cholesky import inverse
from .operators import Array

__all__ = ["Inverse"]

DELAYED_ROWS = 256
"""Rows of updates that are collected before they are applied. Collected updates are one product of
matrices; each alone would read and write the whole inverse."""

ROWS_UPDATED_AT_ONCE = 512
"""Rows of the inverse that are updated at once, so that no second matrix of its size is made."""


class Inverse:
    """(C + ridge · I)⁻¹ over the columns that remain, zeros elsewhere; float64.

    Args:
        covariance: C, [columns, columns].
        ridge: added to the diagonal of C.
        left: mask over the columns that remain, [columns].
    """

    def __init__(self, covariance: Array, ridge: float, left: npt.NDArray[np.bool_]):
        here = np.ix_(left, left)
        matrix = covariance[here].astype(np.float64)
        matrix[np.diag_indices(len(matrix))] += ridge
        self._matrix: Array = inverse(matrix)
        if not left.all():
            some, self._matrix = self._matrix, np.zeros(covariance.shape)
            self._matrix[here] = some
        self._left = left.copy()
        self._rows = self._across = np.empty((0, len(left)))
        self._waiting = 0

    def blocks(self, columns: npt.NDArray[np.int64]) -> Array:
        """Return parts of the diagonal, [sets, columns, columns], for columns [sets, columns]."""
        found = self._matrix[columns[:, :, None], columns[:, None, :]]
        if self._waiting:
            rows, across = (
                part[: self._waiting, columns].transpose(1, 2, 0)
                for part in (self._rows, self._across)
            )
            found -= rows @ across.transpose(0, 2, 1)
        return found

    def remove(self, columns: npt.NDArray[np.int64]) -> Array:
        """Remove some columns c.

        With H = C + ridge · I, removing columns of the inverse is the downdate
        H⁻¹ −= H⁻¹_:,c (H⁻¹_cc)⁻¹ H⁻¹_c,: (Hassibi and Stork, Second order derivatives for network
        pruning: Optimal Brain Surgeon, 1993).

        Args:
            columns: the columns, [removed].

        Returns:
            A = (H⁻¹_cc)⁻¹ H⁻¹_c,: [removed, columns]. Weights W [outputs, columns] compensate for
            the removal by W −= W_:,c A.
        """
        rows = self._matrix[columns]
        if self._waiting:
            rows -= self._rows[: self._waiting, columns].T @ self._across[: self._waiting]
        rows[:, ~self._left] = 0.0  # rounding leaves numbers in columns that no longer exist
        across: Array = np.linalg.solve(rows[:, columns], rows)
        if self._waiting + len(rows) > len(self._rows):
            self._apply()
            size = max(min(DELAYED_ROWS, len(self._left) // 4), len(rows))
            self._rows, self._across = (np.empty((size, len(self._left))) for _ in range(2))
        place = slice(self._waiting, self._waiting + len(rows))
        self._rows[place], self._across[place] = rows, across
        self._waiting = place.stop
        self._left[columns] = False
        return across

    def _apply(self) -> None:
        """Apply the collected updates: H⁻¹ −= Σ H⁻¹_:,c (H⁻¹_cc)⁻¹ H⁻¹_c,:."""
        if not self._waiting:
            return
        rows, across = self._rows[: self._waiting], self._across[: self._waiting]
        for start in range(0, len(self._matrix), ROWS_UPDATED_AT_ONCE):
            strip = slice(start, start + ROWS_UPDATED_AT_ONCE)
            self._matrix[strip] -= rows[:, strip].T @ across
        self._waiting = 0
        self._matrix[~self._left] = 0.0
        self._matrix[:, ~self._left] = 0.0
