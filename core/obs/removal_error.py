"""Removal error: the error of an operator's output after the removal of its cheapest units.

With V = W_c (H⁻¹_cc)⁻¹ H⁻¹_c,: (see :mod:`.select`) the error is V x: the contribution of the
removed columns c, less the part that other columns compensate for. It is distributed over positions
and channels like the error of a pruned network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..statistics.downdate import Inverse
from ..statistics.moments import InputMoments, InputSample
from ..statistics.operators import Array, Operator
from ..statistics.ridge import DEFAULT_RIDGE
from .consumers import columns_read, costs_of, energy_of, losses_of

__all__ = ["find_removal_errors"]


def find_removal_errors(
    state: PruningState,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
    part: float,
    progress: Progress = silent,
) -> dict[str, Array]:
    """Return V of each operator by its key, in the layout of the stored weight.

    The cheapest units are removed until the squared error reaches a given part of the output's
    energy.

    Args:
        state: the state before the removal.
        operators: those of :func:`.consumers.readers`.
        moments: moments of each operator's inputs, by key of the operator.
        part: part of the energy around the mean.
        progress: reports the operators done.
    """
    found = {}
    tracked_operators = tracked(operators, "trial removals", len(operators), progress)
    for operator, columns in columns_read(state, tracked_operators):
        own = moments[operator.key]
        # The energy is that of all groups of a layer; each group gets the same part of it.
        most = part * energy_of(columns.matrices, own) / len(columns.matrices)
        errors = np.zeros_like(columns.matrices)
        for number, weight in enumerate(columns.matrices):
            places = list(columns.places(number).values())
            if places:
                errors[number] = _error(own, number, weight, places, columns.left[number], most)
        found[operator.key] = operator.stored(errors, columns.stored)
    return found


def _error(
    moments: InputMoments | InputSample,
    number: int,
    weight: Array,
    places: Sequence[npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
    most: float,
) -> Array:
    """Return V of one group of an operator, [outputs, columns].

    Args:
        moments: moments of the operator's inputs.
        number: number of the group.
        weight: [outputs, columns].
        places: columns of each removable unit.
        left: mask over the columns that are not removed yet.
        most: squared error up to which units are removed.
    """
    units = dict(enumerate(places))
    ridge = float(moments.ridge(DEFAULT_RIDGE)[number])
    if isinstance(moments, InputSample):
        costs = costs_of(weight, moments.rows[number], ridge, units).sum(axis=1)
        removed = _cheapest(places, costs, most)
        error = np.zeros_like(weight)
        error[:, removed] = weight[:, removed]
        return error
    inverse = Inverse(moments.covariance[number], ridge, left)
    removed = _cheapest(places, losses_of(weight.T, inverse, units), most)
    compensated: Array = weight[:, removed] @ inverse.remove(removed)
    return compensated


def _cheapest(
    places: Sequence[npt.NDArray[np.int64]], costs: Array, most: float
) -> npt.NDArray[np.int64]:
    """Return the columns of the cheapest units, until their costs add up to `most`."""
    order = np.argsort(costs, kind="stable")
    count = int(np.searchsorted(np.cumsum(costs[order]), most)) + 1
    return np.concatenate([places[unit] for unit in order[:count]])
