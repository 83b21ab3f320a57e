"""Losses that obey balance rules: small integer solutions of linear equations.

Cell k of a rule system loses x_k channels, 0 ≤ x_k ≤ size_k. Each rule is a few equations
Σ row_k · x_k = 0. A solution is *minimal* if no other one but 0 lies below it. The minimal
solutions generate all: every solution is a sum of them, and every partial sum is a solution again
(they are the Hilbert basis of the cone, cut by the box). So they are the steps in which channels
leave.

Equations of two cells are solved by substitution; most systems are then solved. What remains goes
to the algorithm of Contejean and Devie (An Efficient Incremental Algorithm for Solving Systems of
Linear Diophantine Equations, 1994). Its search is bounded by :data:`BUDGET`. Beyond that, a
mixed-integer solver (HiGHS) finds the smallest solution, then the smallest of what is left, and so
on. Whether a solution exists is exact then, too; but these steps do not generate every other one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .labels import components

__all__ = ["Loss", "Rows", "minimal_losses"]

Loss = tuple[int, ...]
"""Number of channels that each cell, or share, loses."""

Rows = tuple[tuple[int, ...], ...]
"""Equations, [equations, cells]: the products with a loss sum to 0."""

Sets = tuple[tuple[int, ...], ...]
"""Sets of cells. A loss of all channels of all cells of a set would leave a value empty."""

BUDGET = 20_000
"""Vectors that a search may visit. ShuffleNets and nested splits need a few hundred at most; the
whole budget takes about a tenth of a second."""

EFFORT = 5_000
"""Variables times steps that the mixed-integer solver looks for: 79 steps of 64 cells."""

NODES = 1_000
"""Nodes that the mixed-integer solver may visit for one step."""

Matrix = npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def minimal_losses(equations: Rows, sizes: Loss, kept: Sets = ()) -> tuple[Loss, ...]:
    """Return the minimal losses over 0, in rising order of their sums.

    They are exact within :data:`BUDGET`, see above. Blocks of a network repeat: results are kept.

    Args:
        equations: what a loss obeys.
        sizes: channels of each cell.
        kept: sets of cells of which one channel must stay. Losses that take all of one are left
            out: no larger loss can keep it.
    """
    found: set[Loss] = set()
    for part in _parts(_reduced(_System.of(equations, sizes))):
        solved = _searched(part)
        if solved is None:
            solved = list(_smallest_first(part, np.array(sizes), kept))
        found.update(tuple((vector @ part.spread).tolist()) for vector in solved)
    legal = [loss for loss in found if not empties(loss, sizes, kept)]
    return tuple(sorted(legal, key=lambda loss: (sum(loss), [-count for count in loss])))


def empties(loss: Loss, sizes: Loss, kept: Sets) -> bool:
    """Return whether a loss takes all channels of a set of cells."""
    return any(all(loss[cell] == sizes[cell] for cell in cells) for cells in kept)


@dataclass(frozen=True, slots=True)
class _System:
    """Equations in variables that each stand for cells.

    Args:
        matrix: the equations, [equations, variables].
        bounds: largest value of each variable.
        spread: what one of a variable means for each cell, [variables, cells].
    """

    matrix: Matrix
    bounds: Matrix
    spread: Matrix

    @classmethod
    def of(cls, equations: Rows, sizes: Loss) -> _System:
        """Return the system with a variable for each cell."""
        count = len(sizes)
        matrix = np.array(equations, dtype=np.int64).reshape(len(equations), count)
        return cls(matrix, np.array(sizes, dtype=np.int64), np.eye(count, dtype=np.int64))

    def within(self, bounds: Matrix) -> _System:
        """Return the system with lower bounds, without variables that must be 0."""
        left = bounds > 0
        return _System(self.matrix[:, left], bounds[left], self.spread[left])

    def merged(self, number: Matrix, factor: Matrix) -> _System:
        """Return the system with variable `number[k]` times `factor[k]` in place of variable k."""
        count = int(number.max(initial=-1)) + 1
        bounds = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(bounds, number, self.bounds // factor)
        columns = np.zeros((count, self.matrix.shape[0]), dtype=np.int64)
        np.add.at(columns, number, self.matrix.T * factor[:, None])
        spread = np.zeros((count, self.spread.shape[1]), dtype=np.int64)
        np.add.at(spread, number, self.spread * factor[:, None])
        return _System(columns.T, bounds, spread).within(bounds)


def _reduced(system: _System) -> _System:
    """Return an equal system without variables that must be 0, with proportional ones merged."""
    system = system.within(system.bounds)
    while True:
        system = _System(_simplified(system.matrix), system.bounds, system.spread)
        count = len(system.bounds)
        system = system.within(_tightened(system))
        if len(system.bounds) < count:
            continue
        merging = _proportional(system.matrix)
        if merging is None:
            return system
        system = system.merged(*merging)


def _simplified(matrix: Matrix) -> Matrix:
    """Return the equations divided by their common factors, each once, without empty ones."""
    matrix = matrix[matrix.any(axis=1)]
    if not matrix.size:
        return matrix[:0]
    matrix = matrix // np.gcd.reduce(matrix, axis=1)[:, None]
    first = matrix[np.arange(len(matrix)), (matrix != 0).argmax(axis=1)]
    unique: Matrix = np.unique(matrix * np.sign(first)[:, None], axis=0)
    return unique


def _tightened(system: _System) -> Matrix:
    """Return bounds that each equation allows: no term is larger than all terms against it."""
    bounds = system.bounds.copy()
    for row in system.matrix:
        for sign in (1, -1):
            terms = np.maximum(sign * row, 0)
            own = terms > 0
            most = int(np.maximum(-sign * row, 0) @ bounds)
            bounds[own] = np.minimum(bounds[own], most // terms[own])
    return bounds


def _proportional(matrix: Matrix) -> tuple[Matrix, Matrix] | None:
    """Return which variables merge by equations of two terms, as in :meth:`_System.merged`."""
    pairs = matrix[(matrix != 0).sum(axis=1) == 2]
    if not len(pairs):
        return None
    count = matrix.shape[1]
    factor = np.ones(count, dtype=np.int64)
    equal = pairs[np.abs(pairs).max(axis=1) == 1]
    if len(equal):
        _, columns = np.nonzero(equal)
        roots = components(count, columns.reshape(-1, 2).T)
    else:
        first, second = np.flatnonzero(pairs[0]).tolist()
        roots = np.arange(count)
        roots[second] = first
        factor[first], factor[second] = abs(int(pairs[0, second])), abs(int(pairs[0, first]))
    _, number = np.unique(roots, return_inverse=True)
    return number.reshape(-1).astype(np.int64), factor


def _parts(system: _System) -> Iterator[_System]:
    """Yield the systems of variables that equations connect."""
    count = len(system.bounds)
    rows, columns = np.nonzero(system.matrix)
    first = (system.matrix != 0).argmax(axis=1) if len(system.matrix) else np.empty(0, np.int64)
    roots = components(count, np.stack([first[rows], columns]).astype(np.int64))
    for root in np.unique(roots).tolist():
        own = roots == root
        matrix = system.matrix[:, own]
        yield _System(matrix[matrix.any(axis=1)], system.bounds[own], system.spread[own])


def _searched(system: _System) -> list[Matrix] | None:
    """Return the minimal solutions, or None where the search would exceed its budget.

    From every vector x that is no solution yet, the search adds one to a variable j for which
    ⟨Ax, Ae_j⟩ < 0: a step back towards Ax = 0. Vectors above a solution are dropped. A variable is
    frozen on the branches of the variables after it, so that no vector is reached twice.
    """
    matrix, bounds = system.matrix, system.bounds
    count = len(bounds)
    columns = np.arange(count)
    back = matrix.T @ matrix
    vectors = np.eye(count, dtype=np.int64)
    frozen = np.tri(count, k=-1, dtype=np.bool_)
    found: list[Matrix] = []
    visited = count
    while len(vectors):
        solved = ~(vectors @ matrix.T).any(axis=1)
        found += list(np.unique(vectors[solved], axis=0))
        open_ = ~solved
        for solution in found:
            open_ &= (vectors < solution).any(axis=1)
        vectors, frozen = vectors[open_], frozen[open_]
        towards = (vectors @ back < 0) & (vectors < bounds) & ~frozen
        parents, added = np.nonzero(towards)
        visited += len(parents)
        if visited > BUDGET:
            return None
        frozen = frozen[parents] | (towards[parents] & (columns < added[:, None]))
        vectors = vectors[parents]
        vectors[np.arange(len(vectors)), added] += 1
    return found


def _smallest_first(system: _System, sizes: Matrix, kept: Sets) -> Iterator[Matrix]:
    """Yield the smallest solution, then the smallest in what it leaves, and so on."""
    reached = set(np.flatnonzero(system.spread.sum(axis=0)).tolist())
    # A cell that this system does not reach keeps its channels, and with them the set.
    rows = [list(cells) for cells in kept if reached.issuperset(cells)]
    taking = np.zeros((len(rows), len(system.bounds)), dtype=np.int64)
    for place, cells in enumerate(rows):
        taking[place] = system.spread[:, cells].sum(axis=1)
    most = np.array([int(sizes[cells].sum()) - 1 for cells in rows], dtype=np.int64)
    left = system.bounds.copy()
    for _ in range(1 + EFFORT // len(left)):
        step = _smallest(system.matrix, left, taking, most)
        if step is None:
            return
        yield step
        weights = taking @ step
        used, full = np.flatnonzero(step), np.flatnonzero(weights)
        times = np.concatenate([left[used] // step[used], most[full] // weights[full]]).min()
        left -= times * step
        most -= times * weights


def _smallest(matrix: Matrix, bounds: Matrix, taking: Matrix, most: Matrix) -> Matrix | None:
    """Return the solution over 0 with the smallest sum, None without one.

    Args:
        matrix: the equations.
        bounds: the largest values.
        taking: further rows, whose products with the solution stay within `most`.
        most: see `taking`.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # heavy, and hardly ever needed

    count = len(bounds)
    rules = [LinearConstraint(matrix, 0, 0), LinearConstraint(np.ones((1, count)), 1, np.inf)]
    if len(taking):
        rules.append(LinearConstraint(taking, -np.inf, most))
    result = milp(
        np.ones(count),
        integrality=np.ones(count),
        bounds=Bounds(0, bounds),
        constraints=rules,
        options={"node_limit": NODES},
    )
    if result.x is None:
        return None
    step = np.rint(result.x).astype(np.int64)
    # The solver computes with floats; what it found is checked in integers.
    exact = step.any() and not (matrix @ step).any() and (taking @ step <= most).all()
    return step if exact and (step >= 0).all() and (step <= bounds).all() else None
