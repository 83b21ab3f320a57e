"""Operators that read channels: what a channel costs there, and what makes up for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..ir.network import Network
from ..progress import Progress, silent, tracked
from ..statistics.cholesky import solution
from ..statistics.columns import removable_units, weight_columns
from ..statistics.downdate import Inverse
from ..statistics.moments import VARIANCE_FLOOR, InputMoments, InputSample, limited
from ..statistics.operators import Array, Operator
from ..statistics.ridge import DEFAULT_RIDGE, FULL_DATA_FACTOR, best_ridge, spread

__all__ = [
    "Consumer",
    "Wide",
    "costs_of",
    "energy_of",
    "find_consumers",
    "losses_of",
    "readers",
]

TRIAL_EVERY = 3
"""Every so many-th unit that an operator reads is removed when cross-validating its ridge."""

LARGEST_OPTIMISM = 10.0
"""The largest factor of optimism that is believed: a ratio of energies near 0 says little.
Measured factors lie between 1 and 2.5."""


@dataclass(slots=True)
class Consumer:
    """One group of one operator while channels leave it. Columns are inputs · taps."""

    operator: Operator
    factors: Array
    """The weight, [columns, outputs]."""
    inverse: Inverse
    scale: float
    rows: npt.NDArray[np.int64]
    """Class of each output."""
    places: dict[int, npt.NDArray[np.int64]]
    """Class → its columns, for units that may go and are still there."""

    @property
    def weight(self) -> Array:
        """The weight as it is now, [outputs, columns]."""
        return self.factors.T

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the units read here and what the removal of each would cost now."""
        units = np.array(list(self.places), dtype=np.int64)
        return units, losses_of(self.factors, self.inverse, self.places) * self.scale

    def remove(self, unit: int) -> None:
        """Take a unit out of the inputs and let the other columns make up for it."""
        columns = self.places.pop(unit)
        across = self.inverse.remove(columns)
        self.factors -= across.T @ self.factors[columns]
        self.factors[columns] = 0.0

    def drop_outputs(self, unit: int) -> None:
        """Forget outputs that are gone: what happens to them costs nothing."""
        self.factors[:, self.rows == unit] = 0.0


@dataclass(slots=True)
class Wide:
    """One group of an operator with very many columns: nothing compensates in it.

    What a unit costs is then E‖W_c x_c‖², for each output on its own, and never changes but by
    outputs that leave. The refit makes up for it afterwards.
    """

    operator: Operator
    weight: Array
    scale: float
    rows: npt.NDArray[np.int64]
    places: dict[int, npt.NDArray[np.int64]]
    costs: Array
    """What the removal of each of `known` costs each output, [units, outputs]."""
    known: npt.NDArray[np.int64]
    """Units that may go, also those that are gone."""

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the units read here and what the removal of each would cost now."""
        found: Array = self.costs.sum(axis=1) * self.scale
        return self.known, found

    def remove(self, unit: int) -> None:
        """Take a unit out of the inputs."""
        self.weight[:, self.places.pop(unit)] = 0.0
        self.costs[self.known == unit] = 0.0

    def drop_outputs(self, unit: int) -> None:
        """Forget outputs that are gone: what happens to them costs nothing."""
        gone = self.rows == unit
        self.weight[gone] = 0.0
        self.costs[:, gone] = 0.0


def readers(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    removed: npt.NDArray[np.bool_],
) -> list[Operator]:
    """Return the operators whose error is a matter of which channels leave.

    That is all but depthwise ones, which pass channels on, and those that read nothing prunable.
    """
    removable = removable_units(groups, removed)
    found = []
    for operator in operators:
        read = weight_columns(network, groups, operator, removable, removed)
        if read is not None and any(read.places(part) for part in range(len(read.matrices))):
            found.append(operator)
    return found


def find_consumers(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
    weights: Mapping[str, float],
    removed: npt.NDArray[np.bool_],
    progress: Progress = silent,
) -> list[Consumer | Wide]:
    """Return the operators that read channels, one a group of each.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups.
        operators: its multiplying nodes.
        moments: moments of what each operator reads, by its key.
        weights: how much a relative error of each operator's output counts, by its key; those that
            :func:`readers` leaves out are not needed.
        removed: mask over units that left before.
        progress: told of the operators done.
    """
    removable = removable_units(groups, removed)
    found: list[Consumer | Wide] = []
    for operator in tracked(operators, "inverses", len(operators), progress):
        read = weight_columns(network, groups, operator, removable, removed)
        if read is None:
            continue
        own_moments = moments[operator.key]
        energy = energy_of(read.matrices, own_moments)
        scale = weights.get(operator.key, 0.0) / energy if energy > 0 else 0.0
        for part, weight in enumerate(read.matrices):
            places, rows = read.places(part), read.outputs[part]
            if isinstance(own_moments, InputSample):
                found.append(_wide(operator, own_moments, part, weight, scale, rows, places))
            else:
                left = read.left[part]
                found.append(
                    _narrow(operator, own_moments, part, weight, scale, rows, places, left)
                )
    return found


def _wide(
    operator: Operator,
    own_moments: InputSample,
    part: int,
    weight: Array,
    scale: float,
    rows: npt.NDArray[np.int64],
    places: dict[int, npt.NDArray[np.int64]],
) -> Wide:
    ridge = float(own_moments.ridge(DEFAULT_RIDGE)[part])
    return Wide(
        operator=operator,
        weight=weight.copy(),
        scale=scale,
        rows=rows,
        places=places,
        costs=costs_of(weight, own_moments.rows[part], ridge, places),
        known=np.array(list(places), dtype=np.int64),
    )


def _narrow(
    operator: Operator,
    own_moments: InputMoments,
    part: int,
    weight: Array,
    scale: float,
    rows: npt.NDArray[np.int64],
    places: dict[int, npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
) -> Consumer:
    ridge, optimism = _trusted(own_moments, part, weight, places, left)
    return Consumer(
        operator=operator,
        factors=np.ascontiguousarray(weight.T, dtype=np.float64),
        inverse=Inverse(own_moments.covariance[part], float(own_moments.ridge(ridge)[part]), left),
        scale=scale * optimism,
        rows=rows,
        places=places,
    )


def _trusted(
    own_moments: InputMoments,
    part: int,
    weight: Array,
    places: dict[int, npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
) -> tuple[float, float]:
    """Return the ridge, and how many times larger losses are on other samples than they seem.

    Every :data:`TRIAL_EVERY`-th unit, in the order of losses, is removed when cross-validating the
    ridge. The weights that make up for it come from the even samples: with r the columns that
    stay, the error of the output is W_c x_c − W_c C_cr (C_rr + ridge)⁻¹ x_r = V x. Its energy is
    tr(V C Vᵀ), with C of the even samples (as it seems) or of the odd ones (as it is). float32 is
    enough: a ridge is far larger than what rounding adds to C.
    """
    if len(own_moments.halves) < 2 or not places:
        return DEFAULT_RIDGE, 1.0
    seen, unseen = (half[part] for half in own_moments.halves)
    variance = np.trace(seen, dtype=np.float64) / len(seen)
    first = Inverse(seen, float(limited(variance, own_moments.power[part], DEFAULT_RIDGE)), left)
    order = np.argsort(losses_of(weight.T, first, places), kind="stable")
    known = list(places.values())
    away = np.concatenate([known[k] for k in order[len(order) > 1 :: TRIAL_EVERY]])
    weight = spread(weight[weight.any(axis=1)]).astype(np.float32)
    stay = left.copy()
    stay[away] = False
    among = seen[np.ix_(stay, stay)]
    told = weight[:, away] @ seen[np.ix_(away, stay)]
    lacking = np.zeros_like(weight)
    lacking[:, away] = weight[:, away]
    factors: dict[float, float] = {}

    def error(ridge: float) -> float:
        square = among.copy()
        square[np.diag_indices(len(square))] += limited(variance, own_moments.power[part], ridge)
        lacking[:, stay] = -solution(square, told.T).T
        missed, seeming = (_square_of(lacking, covariance) for covariance in (unseen, seen))
        factors[ridge] = missed / seeming if seeming > 0 else 1.0
        return missed

    best = best_ridge(error, len(seen))
    return best * FULL_DATA_FACTOR, min(max(factors[best], 1.0), LARGEST_OPTIMISM)


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
    return float(((weight @ covariance) * weight).sum(dtype=np.float64))


def energy_of(matrices: Array, own_moments: InputMoments | InputSample) -> float:
    """Return E‖W x‖² around the mean, with a floor where the data saturates the operator."""
    floor = VARIANCE_FLOOR * float(
        (np.square(matrices).sum(axis=(1, 2), dtype=np.float64) * own_moments.power).sum()
    )
    if isinstance(own_moments, InputMoments):
        wider = matrices.astype(np.float64)
        return float(((wider @ own_moments.covariance) * wider).sum()) + floor
    made = own_moments.rows @ matrices.transpose(0, 2, 1)
    return float(np.square(made).sum(dtype=np.float64) / own_moments.rows.shape[1]) + floor


def costs_of(
    weight: Array, rows: Array, ridge: float, places: Mapping[int, npt.NDArray[np.int64]]
) -> Array:
    """Return what the removal of each unit costs each output, [units, outputs]."""
    found = np.zeros((len(places), len(weight)))
    for number, columns in enumerate(places.values()):
        own = weight[:, columns]
        found[number] = np.square(rows[:, columns] @ own.T).mean(axis=0, dtype=np.float64)
        found[number] += ridge * np.square(own).sum(axis=1, dtype=np.float64)
    return found
