"""The inverse that columns leave: always that of what is left, however its updates are put off."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.statistics import downdate as module
from secateur.core.statistics.downdate import Inverse
from secateur.core.statistics.ridge import OUTPUTS_TRIED, spread

COLUMNS = 40
RIDGE = 0.1


def covariance() -> np.ndarray:
    x = np.random.default_rng(5).standard_normal((60, COLUMNS))
    return x.T @ x / len(x)


def exact(matrix: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return (C + ridge)⁻¹ over the columns that are left, zeros elsewhere."""
    found = np.zeros_like(matrix)
    here = np.ix_(left, left)
    found[here] = np.linalg.inv(matrix[here] + RIDGE * np.eye(int(left.sum())))
    return found


@pytest.mark.parametrize("waiting", [1, 7, 256])
@pytest.mark.parametrize("gone", [(), (3, 4, 20)])
def test_columns_leave(monkeypatch, waiting, gone):
    monkeypatch.setattr(module, "DELAYED_ROWS", waiting)
    monkeypatch.setattr(module, "ROWS_UPDATED_AT_ONCE", 16)
    matrix = covariance()
    left = np.ones(COLUMNS, bool)
    left[list(gone)] = False
    inverse = Inverse(matrix, RIDGE, left)
    random = np.random.default_rng(1)
    while left.sum() > 6:
        now = exact(matrix, left)
        there = np.flatnonzero(left)
        sets = random.permutation(there)[: len(there) // 3 * 3].reshape(-1, 3)
        wanted = now[sets[:, :, None], sets[:, None, :]]
        np.testing.assert_allclose(inverse.blocks(sets), wanted, rtol=1e-8, atol=1e-9)
        columns = sets[0]
        across = np.linalg.solve(now[np.ix_(columns, columns)], now[columns])
        np.testing.assert_allclose(inverse.remove(columns), across, rtol=1e-8, atol=1e-9)
        left[columns] = False


def test_what_is_gone_makes_up_for_nothing():
    inverse = Inverse(covariance(), RIDGE, np.ones(COLUMNS, bool))
    inverse.remove(np.array([1, 2]))
    across = inverse.remove(np.array([7]))
    assert not across[:, [1, 2]].any()
    assert across[0, 7] == pytest.approx(1.0)


def test_a_ridge_is_tried_on_outputs_from_all_over():
    many = np.arange(3 * OUTPUTS_TRIED + 1)
    some = spread(many)
    assert len(some) <= OUTPUTS_TRIED
    assert some[-1] > 0.99 * many[-1]
    assert np.array_equal(spread(many[None, :5], 1), many[None, :5])
    assert spread(np.zeros((0, 4))).shape == (0, 4)
