"""Inverses and solutions by Cholesky factors against those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.statistics import cholesky as module
from secateur.core.statistics.cholesky import inverse, solution


def covariances(groups: int, columns: int) -> np.ndarray:
    x = np.random.default_rng(columns).standard_normal((groups, 2 * columns, columns))
    return x.transpose(0, 2, 1) @ x / (2 * columns) + 0.1 * np.eye(columns)


@pytest.mark.parametrize("columns", [0, 1, 7, 64, 150])
def test_they_are_those_of_numpy(columns, monkeypatch):
    monkeypatch.setattr(module, "ROWS_MIRRORED_AT_ONCE", 64)
    matrices = covariances(2, columns)
    right = np.random.default_rng(1).standard_normal((2, columns, 3))
    wanted = np.linalg.inv(matrices)
    np.testing.assert_allclose(solution(matrices, right), wanted @ right, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(solution(matrices[0], right[0]), (wanted @ right)[0], rtol=1e-9)
    before = matrices.copy()
    np.testing.assert_allclose(inverse(matrices), wanted, rtol=1e-9, atol=1e-12)
    assert np.array_equal(matrices, before)
    found = inverse(matrices[1])
    assert np.array_equal(found, found.T)
    single = solution(matrices.astype(np.float32), right.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted @ right, rtol=1e-3, atol=1e-4)


def test_what_is_not_definite_is_solved_all_the_same():
    matrix = np.array([[1.0, 2.0], [2.0, 1.0]])
    np.testing.assert_allclose(inverse(matrix), np.linalg.inv(matrix))
    np.testing.assert_allclose(solution(matrix, np.eye(2)), np.linalg.inv(matrix))
    for refuses in (inverse, lambda singular: solution(singular, np.eye(2))):
        with pytest.raises(np.linalg.LinAlgError):
            refuses(np.zeros((2, 2)))
