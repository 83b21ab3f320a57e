"""The least squares of one layer: samples of its inputs and targets → its weights.

Minimises what :mod:`.refit` states, by the moments of the inputs, or, where there are more inputs
than positions, by the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..ir.assemble import Tensors
from ..ir.network import Network
from ..statistics.cholesky import inverse, solution
from ..statistics.moments import (
    InputMoments,
    InputSample,
    MomentAccumulator,
    SampleAccumulator,
    SplitHalf,
    joined_pairs,
    wide,
)
from ..statistics.operators import Array, Operator, Positions
from ..statistics.ridge import DEFAULT_RIDGE, FULL_DATA_FACTOR, WIDE_COLUMNS, best_ridge, spread
from .targets import Target, array_of

__all__ = ["Sample", "fitted"]

RIDGE_FACTOR_BY_COUNTS = 0.1
"""Factor of the ridge in a fit by counts. The full ridge pulls scores back towards those of the fit
to all positions, which are too low: a detector loses boxes whose scores fall below its limit. The
squared error, which chooses the ridge, rises only by a few percent down to a tenth of the best
ridge."""

KEPT_COLUMN_BYTES = 1 << 28
"""Bytes of a layer's columns (inputs · taps) that are kept for the rounds. With more, each round
makes the columns again."""

ROUNDS = 3
"""Number of times that the targets before an activation are updated. Each round lowers the error
behind the activation, the first rounds most."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The inputs and targets of a layer for one batch."""

    x: np.ndarray
    positions: Positions | None
    target: Target
    counts: Array | None = None
    """Weights [groups, positions, shares of the outputs]; None for 1."""


def fitted(
    network: Network, operator: Operator, samples: Sequence[Sample], changed: Tensors
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the fitted weight and shift of an operator, as initializers.

    Args:
        network: the pruned network.
        operator: the operator.
        samples: inputs and targets of the fit.
        changed: initializer → values of layers that were refitted before.
    """
    stored = array_of(network, operator.weight, changed)
    fit = _wide_fit if wide(operator, network) else _narrow_fit
    weight, shift = fit(operator, operator.matrix(stored), samples)
    tensors: dict[str, npt.NDArray[np.generic]] = {operator.weight: operator.stored(weight, stored)}
    if operator.shift is not None:
        old = array_of(network, operator.shift.parameter, changed)
        vector = shift.reshape(old.shape)
        new = vector if operator.shift.sign > 0 else old - vector
        tensors[operator.shift.parameter] = new.astype(old.dtype)
    return tensors


def _rounds(samples: Sequence[Sample]) -> int:
    """Return how often the targets are updated: never without an activation behind the layer."""
    return ROUNDS if any(sample.target.slope != 1.0 for sample in samples) else 0


def _narrow_fit(
    operator: Operator, present: Array, samples: Sequence[Sample]
) -> tuple[Array, Array]:
    """Return weight and shift, from sums over all positions."""
    columns = _columns(operator, samples)
    shifted = operator.shift is not None
    present = present.astype(np.float64)
    if samples[0].counts is not None:
        plain, _ = _narrow_fit(operator, present, [replace(s, counts=None) for s in samples])
        return _fit_by_counts(columns, plain, samples, shifted=shifted)
    sums, solver = _summed(columns, present, samples, shifted=shifted)
    weight, shift = solver.solve(*sums.means())
    for _ in range(_rounds(samples)):
        mean: Array = np.zeros(shift.shape)
        cross: Array = np.zeros(weight.shape)
        factor = weight.astype(np.float32).transpose(0, 2, 1)
        summand = shift.astype(np.float32)[:, None, :]
        pairs = (
            (columns(number), sample.target.around(columns(number) @ factor + summand))
            for number, sample in enumerate(samples)
        )
        for x, target in joined_pairs(pairs):
            mean += target.sum(axis=1, dtype=np.float64)
            cross += target.transpose(0, 2, 1) @ x
        weight, shift = solver.solve(mean / sums.count, cross / sums.count)
    return weight, shift


def _fit_by_counts(
    columns: Callable[[int], Array], present: Array, samples: Sequence[Sample], *, shifted: bool
) -> tuple[Array, Array]:
    """Return weight and shift, fitted separately for each share of the outputs.

    Args:
        columns: number of a batch → columns of the layer's input.
        present: the weights of a fit with equal weights of all positions; the ridge pulls towards
            them.
        samples: inputs and targets of the fit, with counts.
        shifted: whether an intercept can be stored.
    """
    assert samples[0].counts is not None
    shares = samples[0].counts.shape[-1]
    weights, shifts = [], []
    for share, part in enumerate(np.split(present, shares, axis=1)):
        sums, solver = _summed(columns, part, samples, shifted=shifted, share=share)
        weight, shift = solver.solve(*sums.means())
        weights.append(weight)
        shifts.append(shift)
    return np.concatenate(weights, axis=1), np.concatenate(shifts, axis=1)


def _summed(
    columns: Callable[[int], Array],
    present: Array,
    samples: Sequence[Sample],
    *,
    shifted: bool,
    share: int | None = None,
) -> tuple[MomentAccumulator, _Solver]:
    """Return the sums over all positions, and a solver for the weights.

    Args:
        columns: number of a batch → columns of the layer's input.
        present: the weights that the ridge pulls towards.
        samples: inputs and targets of the fit.
        shifted: whether an intercept can be stored.
        share: number of the share of the outputs that is fitted with its counts; None for all
            outputs, without counts.
    """
    halves = SplitHalf()
    for number, sample in enumerate(samples):
        wanted, counts = sample.target.wanted, None
        if share is not None and sample.counts is not None:
            wanted = np.split(wanted, sample.counts.shape[-1], axis=2)[share]
            counts = sample.counts[..., share]
        halves.add(len(sample.x), columns(number), wanted, counts)
    ridge = _ridge(halves, present, shifted=shifted) * (
        1.0 if share is None else RIDGE_FACTOR_BY_COUNTS
    )
    sums = halves.joined()
    moments = sums.moments(centred=shifted)
    return sums, _Solver(moments, present, shifted=shifted, ridge=ridge)


def _around(moments: InputMoments, mean: Array, cross: Array) -> Array:
    """Return the covariance of targets and inputs.

    Args:
        moments: moments of the inputs.
        mean: mean of the targets.
        cross: mean of the products of targets and inputs.
    """
    covariance: Array = cross - mean[:, :, None] * moments.mean[:, None, :]
    return covariance


def _ridge(halves: SplitHalf, present: Array, *, shifted: bool) -> float:
    """Return the best ridge by cross-validation between the two halves of the samples.

    With few columns, each half is tested on the other. With many, one half is tested.
    """
    if not halves.halved:
        return DEFAULT_RIDGE
    columns = present.shape[-1]
    present = spread(present, 1).astype(np.float32)
    folds = []
    for half in (halves.even, halves.odd):
        moments = half.moments(centred=shifted)
        cross = spread(_around(moments, *half.means()), 1).astype(np.float32)
        folds.append((moments, moments.covariance.astype(np.float32), cross))
    pairs = [(0, 1)] if columns > WIDE_COLUMNS else [(0, 1), (1, 0)]

    def error(ridge: float) -> float:
        total = 0.0
        for fitted, tested in pairs:
            moments, covariance, cross = folds[fitted]
            _, other_covariance, other_cross = folds[tested]
            pull = moments.ridge(ridge)[:, None, None].astype(np.float32)
            square = covariance + pull * np.eye(columns, dtype=np.float32)
            pulled = (cross + pull * present).transpose(0, 2, 1)
            weight = solution(square, pulled).transpose(0, 2, 1)
            residual = (weight @ other_covariance - 2 * other_cross) * weight
            total += float(residual.sum(dtype=np.float64))
        return total

    return best_ridge(error, columns) * FULL_DATA_FACTOR


def _wide_fit(operator: Operator, present: Array, samples: Sequence[Sample]) -> tuple[Array, Array]:
    """Return weight and shift of a layer with too many columns for a covariance."""
    shifted = operator.shift is not None
    accumulator = SampleAccumulator()
    for sample in samples:
        accumulator.add(operator.inputs(sample.x, sample.positions))
    read = accumulator.sample(centred=shifted)
    count = read.rows.shape[1]
    wanted = np.concatenate([sample.target.wanted for sample in samples], axis=1)[:, :count]
    solver = _WideSolver(read, present, wanted, _owners(samples)[:count], shifted=shifted)
    weight, shift = solver.solve(wanted)
    for _ in range(_rounds(samples)):
        predicted = solver.predicted(weight, shift)
        weight, shift = solver.solve(_targets_around(samples, predicted, wanted))
    return weight, shift


def _targets_around(samples: Sequence[Sample], predicted: Array, wanted: Array) -> Array:
    """Return the targets given the present predictions, [groups, positions, outputs].

    Args:
        samples: the targets of each batch.
        predicted: the present predictions at the first positions of all batches.
        wanted: the targets without an activation, which stay for a batch that is cut short.
    """
    parts, start = [], 0
    for sample in samples:
        stop = start + sample.target.wanted.shape[1]
        if stop > predicted.shape[1]:
            break
        parts.append(sample.target.around(predicted[:, start:stop]))
        start = stop
    return np.concatenate([*parts, wanted[:, start:]], axis=1)


def _owners(samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Return the number of the sample that each position belongs to."""
    count = sum(len(sample.x) for sample in samples)
    each = [sample.target.wanted.shape[1] // len(sample.x) for sample in samples]
    sizes = [len(sample.x) for sample in samples]
    return np.repeat(np.arange(count), np.repeat(each, sizes))


class _WideSolver:
    """Finds weights for any targets of the same inputs, with more columns than positions.

    With X the inputs and E the difference of targets and present outputs, both [positions, …]
    around their means, N the number of positions and r the ridge, the minimum is
    W₀ + Eᵀ (X Xᵀ + r N)⁻¹ X. The inverse is a matrix of positions, not of columns.

    Args:
        read: sample of the inputs.
        present: the weight W₀ that the ridge pulls towards, [groups, outputs, inputs · taps].
        wanted: targets by which the ridge is chosen, [groups, positions, outputs].
        owners: number of the sample of each position.
        shifted: whether an intercept can be stored.
    """

    def __init__(
        self,
        read: InputSample,
        present: Array,
        wanted: Array,
        owners: npt.NDArray[np.int64],
        *,
        shifted: bool,
    ):
        self._read, self._present, self._shifted = read, present, shifted
        x, count = read.rows, read.rows.shape[1]
        products = (x @ x.transpose(0, 2, 1)).astype(np.float64)
        self._outputs = x @ present.transpose(0, 2, 1)
        difference = spread(wanted - self._outputs, 2)
        part = _wide_ridge(products, difference, owners, read, shifted=shifted)
        ridge = read.ridge(part)[:, None, None] * count
        self._inverse = inverse(products + ridge * np.eye(count))

    def solve(self, targets: Array) -> tuple[Array, Array]:
        """Return weight and shift for targets [groups, positions, outputs]."""
        mean = targets.mean(axis=1, dtype=np.float64)
        if not self._shifted:
            mean = np.zeros_like(mean)
        difference = self._inverse @ (targets - mean[:, None] - self._outputs)
        change = difference.transpose(0, 2, 1).astype(np.float32) @ self._read.rows
        weight = self._present + change
        return weight, mean - self._mean_output(weight)

    def predicted(self, weight: Array, shift: Array) -> Array:
        """Return the outputs of a weight and a shift, [groups, positions, outputs]."""
        outputs: Array = self._read.rows @ weight.transpose(0, 2, 1)
        outputs += (shift + self._mean_output(weight))[:, None]
        return outputs

    def _mean_output(self, weight: Array) -> Array:
        mean: Array = np.einsum("goc,gc->go", weight, self._read.mean.astype(np.float32))
        return mean


def _wide_ridge(
    products: Array,
    difference: Array,
    owners: npt.NDArray[np.int64],
    read: InputSample,
    *,
    shifted: bool,
) -> float:
    """Return the best ridge by cross-validation: each half of the samples is tested on the other.

    Args:
        products: products of the inputs, [groups, positions, positions].
        difference: targets less present outputs, [groups, positions, outputs].
        owners: number of the sample of each position.
        read: sample of the inputs.
        shifted: whether an intercept can be stored.
    """
    halves = np.flatnonzero(owners % 2 == 0), np.flatnonzero(owners % 2)
    if not len(halves[1]):
        return DEFAULT_RIDGE
    targets = [difference[:, half] for half in halves]
    if shifted:
        targets = [half - half.mean(axis=1, keepdims=True) for half in targets]

    def error(ridge: float) -> float:
        total = 0.0
        sizes = read.ridge(ridge)[:, None, None]
        for fitted, tested in ((0, 1), (1, 0)):
            own, other = halves[fitted], halves[tested]
            square = products[:, own[:, None], own] + sizes * len(own) * np.eye(len(own))
            predicted = products[:, other[:, None], own] @ solution(square, targets[fitted])
            total += float(np.square(predicted - targets[tested]).sum())
        return total

    return best_ridge(error, len(owners)) * FULL_DATA_FACTOR


def _columns(operator: Operator, samples: Sequence[Sample]) -> Callable[[int], Array]:
    """Return a function from the number of a batch to the columns of the layer's input.

    The columns are kept if all of them have at most :data:`KEPT_COLUMN_BYTES`.
    """

    def columns(number: int) -> Array:
        return operator.inputs(samples[number].x, samples[number].positions)

    if columns(0).nbytes * len(samples) > KEPT_COLUMN_BYTES:
        return columns
    kept = [columns(number) for number in range(len(samples))]
    return kept.__getitem__


class _Solver:
    """Finds weights for any targets of the same inputs.

    Args:
        moments: moments of the inputs.
        present: the weight that the ridge pulls towards, [groups, outputs, inputs · taps].
        shifted: whether an intercept can be stored.
        ridge: strength of the ridge, relative to the mean variance of an input.
    """

    def __init__(self, moments: InputMoments, present: Array, *, shifted: bool, ridge: float):
        self._moments, self._shifted = moments, shifted
        weight = moments.ridge(ridge)[:, None, None]
        self._inverse = inverse(moments.covariance + weight * np.eye(moments.covariance.shape[-1]))
        self._pull = weight * present

    def solve(self, mean: Array, cross: Array) -> tuple[Array, Array]:
        """Return weight and shift.

        Args:
            mean: mean of the targets.
            cross: mean of the products of targets and inputs.
        """
        moments = self._moments
        weight: Array = (_around(moments, mean, cross) + self._pull) @ self._inverse
        if not self._shifted:
            return weight, np.zeros(mean.shape)
        return weight, mean - np.einsum("goc,gc->go", weight, moments.mean)
