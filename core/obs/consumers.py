"""Consumers: operators that read channels, the loss of a removal there, and its compensation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.cholesky import solution
from ..statistics.columns import WeightColumns, removable_units, weight_columns
from ..statistics.downdate import Inverse
from ..statistics.moments import VARIANCE_FLOOR, InputMoments, InputSample, limited
from ..statistics.operators import Array, Operator
from ..statistics.ridge import DEFAULT_RIDGE, FULL_DATA_FACTOR, best_ridge, spread

__all__ = [
    "Consumer",
    "Wide",
    "columns_read",
    "costs_of",
    "energy_of",
    "find_consumers",
    "losses_of",
    "readers",
]

TRIAL_EVERY = 3
"""Cross-validation of a ridge removes one of this many units."""

LARGEST_OPTIMISM = 10.0
"""Upper bound of the optimism: a ratio of energies near 0 is unreliable. Measured factors lie
between 1 and 2.5."""


@dataclass(slots=True)
class Consumer:
    """One group of one operator while units are removed from it. Columns are inputs · taps."""

    operator: Operator
    factors: Array
    """The transposed weight, [columns, outputs]."""
    inverse: Inverse
    scale: float
    """Loss for each unit of squared output error."""
    rows: npt.NDArray[np.int64]
    """Unit of each output."""
    places: dict[int, npt.NDArray[np.int64]]
    """Unit → its columns, for units that may be removed and are not removed yet."""

    @property
    def weight(self) -> Array:
        """The current weight, [outputs, columns]."""
        return self.factors.T

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the removable units that are read here, and the current loss of each."""
        units = np.array(list(self.places), dtype=np.int64)
        return units, losses_of(self.factors, self.inverse, self.places) * self.scale

    def remove(self, unit: int) -> None:
        """Remove a unit from the inputs, compensated by the other columns."""
        columns = self.places.pop(unit)
        across = self.inverse.remove(columns)
        self.factors -= across.T @ self.factors[columns]
        self.factors[columns] = 0.0

    def drop_outputs(self, unit: int) -> None:
        """Drop the outputs of a removed unit: an error in them costs nothing."""
        self.factors[:, self.rows == unit] = 0.0


@dataclass(slots=True)
class Wide:
    """One group of an operator with too many columns for a covariance: nothing is compensated.

    The loss of a unit is E‖W_c x_c‖², summed over the outputs. It changes only when outputs are
    removed. The refit compensates for the removal afterwards.
    """

    operator: Operator
    weight: Array
    scale: float
    rows: npt.NDArray[np.int64]
    places: dict[int, npt.NDArray[np.int64]]
    costs: Array
    """Squared error of each output after the removal of each unit of `known`, [units, outputs]."""
    known: npt.NDArray[np.int64]
    """All units that could be removed at the start."""

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the units that are read here, and the current loss of each."""
        found: Array = self.costs.sum(axis=1) * self.scale
        return self.known, found

    def remove(self, unit: int) -> None:
        """Remove a unit from the inputs."""
        self.weight[:, self.places.pop(unit)] = 0.0
        self.costs[self.known == unit] = 0.0

    def drop_outputs(self, unit: int) -> None:
        """Drop the outputs of a removed unit: an error in them costs nothing."""
        removed = self.rows == unit
        self.weight[removed] = 0.0
        self.costs[:, removed] = 0.0


def columns_read(
    state: PruningState, operators: Iterable[Operator]
) -> Iterator[tuple[Operator, WeightColumns]]:
    """Yield the operators that mix channels, each with its weights and the units it reads.

    Depthwise operators are left out: they pass channels on.

    Args:
        state: the state before the removal.
        operators: the multiplying nodes of the network.
    """
    removable = removable_units(state.groups, state.removed)
    for operator in operators:
        columns = weight_columns(state.full, state.groups, operator, removable, state.removed)
        if columns is not None:
            yield operator, columns


def readers(state: PruningState, operators: Iterable[Operator]) -> list[Operator]:
    """Return the operators whose output error depends on which units are removed.

    Depthwise operators and those that read no removable unit are left out.
    """
    return [
        operator
        for operator, columns in columns_read(state, operators)
        if any(columns.places(part) for part in range(len(columns.matrices)))
    ]


def find_consumers(
    state: PruningState,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
    sensitivities: Mapping[str, float],
    progress: Progress = silent,
) -> list[Consumer | Wide]:
    """Return the operators that read channels, one entry for each of their groups.

    Args:
        state: the state before the removal.
        operators: the multiplying nodes of the network.
        moments: moments of each operator's inputs, by key of the operator.
        sensitivities: output sensitivity of each operator, by its key: the weight of a relative
            error of its output. Operators that :func:`readers` leaves out need none.
        progress: reports the operators done.
    """
    found: list[Consumer | Wide] = []
    tracked_operators = tracked(operators, "inverses", len(operators), progress)
    for operator, columns in columns_read(state, tracked_operators):
        own = moments[operator.key]
        energy = energy_of(columns.matrices, own)
        scale = sensitivities.get(operator.key, 0.0) / energy if energy > 0 else 0.0
        for part in range(len(columns.matrices)):
            if isinstance(own, InputSample):
                found.append(_wide(operator, own, columns, part, scale))
            else:
                found.append(_narrow(operator, own, columns, part, scale))
    return found


def _wide(
    operator: Operator, sample: InputSample, columns: WeightColumns, part: int, scale: float
) -> Wide:
    weight, places = columns.matrices[part], columns.places(part)
    ridge = float(sample.ridge(DEFAULT_RIDGE)[part])
    return Wide(
        operator=operator,
        weight=weight.copy(),
        scale=scale,
        rows=columns.outputs[part],
        places=places,
        costs=costs_of(weight, sample.rows[part], ridge, places),
        known=np.array(list(places), dtype=np.int64),
    )


def _narrow(
    operator: Operator, moments: InputMoments, columns: WeightColumns, part: int, scale: float
) -> Consumer:
    weight, places, left = columns.matrices[part], columns.places(part), columns.left[part]
    ridge, optimism = _ridge_and_optimism(moments, part, weight, places, left)
    return Consumer(
        operator=operator,
        factors=np.ascontiguousarray(weight.T, dtype=np.float64),
        inverse=Inverse(moments.covariance[part], float(moments.ridge(ridge)[part]), left),
        scale=scale * optimism,
        rows=columns.outputs[part],
        places=places,
    )


def _ridge_and_optimism(
    moments: InputMoments,
    part: int,
    weight: Array,
    places: dict[int, npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
) -> tuple[float, float]:
    """Return the ridge, and the optimism: the ratio of losses on other samples to those seen.

    Cross-validation removes every :data:`TRIAL_EVERY`-th unit in the order of losses. The even
    samples give the compensation. With c the removed and r the remaining columns, the error of the
    output is W_c x_c − W_c C_cr (C_rr + ridge)⁻¹ x_r = V x. Its energy is tr(V C Vᵀ): the apparent
    energy with C of the even samples, the real one with C of the odd samples. float32 suffices: a
    ridge is far larger than the rounding errors of C.
    """
    if len(moments.halves) < 2 or not places:
        return DEFAULT_RIDGE, 1.0
    seen, unseen = (half[part] for half in moments.halves)
    variance = np.trace(seen, dtype=np.float64) / len(seen)
    whole = Inverse(seen, float(limited(variance, moments.power[part], DEFAULT_RIDGE)), left)
    order = np.argsort(losses_of(weight.T, whole, places), kind="stable")
    columns = list(places.values())
    removed = np.concatenate([columns[place] for place in order[len(order) > 1 :: TRIAL_EVERY]])
    weight = spread(weight[weight.any(axis=1)]).astype(np.float32)
    kept = left.copy()
    kept[removed] = False
    covariance = seen[np.ix_(kept, kept)]
    cross = weight[:, removed] @ seen[np.ix_(removed, kept)]
    errors = np.zeros_like(weight)  # V
    errors[:, removed] = weight[:, removed]
    optimisms: dict[float, float] = {}

    def real_energy(ridge: float) -> float:
        square = covariance.copy()
        square[np.diag_indices(len(square))] += limited(variance, moments.power[part], ridge)
        errors[:, kept] = -solution(square, cross.T).T
        real, apparent = (_square_of(errors, half) for half in (unseen, seen))
        optimisms[ridge] = real / apparent if apparent > 0 else 1.0
        return real

    best = best_ridge(real_energy, len(seen))
    return best * FULL_DATA_FACTOR, min(max(optimisms[best], 1.0), LARGEST_OPTIMISM)


def losses_of(
    factors: Array, inverse: Inverse, places: Mapping[int, npt.NDArray[np.int64]]
) -> Array:
    """Return tr(W_c (H⁻¹_cc)⁻¹ W_cᵀ) of each unit, in the order of `places`.

    Args:
        factors: Wᵀ [columns, outputs].
        inverse: H⁻¹.
        places: unit → its columns.
    """
    found = np.zeros(len(places))
    known = list(places.values())
    sizes = np.array([len(columns) for columns in known])
    for size in np.unique(sizes).tolist():
        chosen = np.flatnonzero(sizes == size)
        index = np.stack([known[place] for place in chosen])
        blocks, own = inverse.blocks(index), factors[index]
        if size == 1:
            found[chosen] = np.square(own).sum(axis=(1, 2)) / blocks[:, 0, 0]
        else:
            squares = np.linalg.solve(blocks, own @ own.transpose(0, 2, 1))
            found[chosen] = np.trace(squares, axis1=1, axis2=2)
    return found


def _square_of(weight: Array, covariance: Array) -> float:
    """Return tr(W C Wᵀ)."""
    return float(((weight @ covariance) * weight).sum(dtype=np.float64))


def energy_of(matrices: Array, moments: InputMoments | InputSample) -> float:
    """Return E‖W x‖² around the mean, with a floor for outputs that the data saturates."""
    floor = VARIANCE_FLOOR * float(
        (np.square(matrices).sum(axis=(1, 2), dtype=np.float64) * moments.power).sum()
    )
    if isinstance(moments, InputMoments):
        wider = matrices.astype(np.float64)
        return float(((wider @ moments.covariance) * wider).sum()) + floor
    outputs = moments.rows @ matrices.transpose(0, 2, 1)
    return float(np.square(outputs).sum(dtype=np.float64) / moments.rows.shape[1]) + floor


def costs_of(
    weight: Array, rows: Array, ridge: float, places: Mapping[int, npt.NDArray[np.int64]]
) -> Array:
    """Return the squared error of each output after the removal of each unit, [units, outputs]."""
    found = np.zeros((len(places), len(weight)))
    for number, columns in enumerate(places.values()):
        own = weight[:, columns]
        found[number] = np.square(rows[:, columns] @ own.T).mean(axis=0, dtype=np.float64)
        found[number] += ridge * np.square(own).sum(axis=1, dtype=np.float64)
    return found
