"""What the output of an operator lacks once its cheapest channels are gone.

With V = W_c (H⁻¹_cc)⁻¹ H⁻¹_c,: (see :mod:`.removal`) the output lacks V x: what the channels c made
of it, less what the others make up for. That is the error that pruning leaves in an output, with
its own structure over space and over channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..ir.network import Network
from ..progress import Progress, silent, tracked
from ..statistics.columns import removable_units, weight_columns
from ..statistics.downdate import Inverse
from ..statistics.moments import InputMoments, InputSample
from ..statistics.operators import Array, Operator
from ..statistics.ridge import DEFAULT_RIDGE
from .consumers import costs_of, energy_of, losses_of

__all__ = ["find_removal_errors"]


def find_removal_errors(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    moments: Mapping[str, InputMoments | InputSample],
    removed: npt.NDArray[np.bool_],
    part: float,
    progress: Progress = silent,
) -> dict[str, Array]:
    """Return V of each operator by its key, in the form of the stored weight.

    The channels are the cheapest ones that together cost a part of the output's energy.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups.
        operators: those of :func:`.consumers.readers`.
        moments: moments of what each operator reads, by its key.
        removed: mask over units that left before.
        part: of the energy around the mean.
        progress: told of the operators done.
    """
    removable = removable_units(groups, removed)
    found = {}
    for operator in tracked(operators, "trial removals", len(operators), progress):
        read = weight_columns(network, groups, operator, removable, removed)
        assert read is not None, "readers() leaves out what reads no channels of its own"
        own_moments = moments[operator.key]
        # The energy is that of all groups of a layer, whose channels count for as much.
        most = part * energy_of(read.matrices, own_moments) / len(read.matrices)
        lacking = np.zeros_like(read.matrices)
        for number, weight in enumerate(read.matrices):
            places = list(read.places(number).values())
            if places:
                lacking[number] = _lacking(
                    own_moments, number, weight, places, read.left[number], most
                )
        found[operator.key] = operator.stored(lacking, read.stored)
    return found


def _lacking(
    own_moments: InputMoments | InputSample,
    number: int,
    weight: Array,
    places: Sequence[npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
    most: float,
) -> Array:
    """Return V of one group of an operator.

    Args:
        own_moments: of the operator.
        number: of the group.
        weight: [outputs, columns].
        places: columns of each unit that may go.
        left: mask over the columns that are there.
        most: squared error up to which units go.
    """
    units = dict(enumerate(places))
    ridge = float(own_moments.ridge(DEFAULT_RIDGE)[number])
    if isinstance(own_moments, InputSample):
        costs = costs_of(weight, own_moments.rows[number], ridge, units).sum(axis=1)
        away = _cheapest(places, costs, most)
        lacking = np.zeros_like(weight)
        lacking[:, away] = weight[:, away]
        return lacking
    inverse = Inverse(own_moments.covariance[number], ridge, left)
    away = _cheapest(places, losses_of(weight.T, inverse, units), most)
    made: Array = weight[:, away] @ inverse.remove(away)
    return made


def _cheapest(
    places: Sequence[npt.NDArray[np.int64]], costs: Array, most: float
) -> npt.NDArray[np.int64]:
    """Return the columns of the cheapest units that cost so much together, of one at least."""
    order = np.argsort(costs, kind="stable")
    count = int(np.searchsorted(np.cumsum(costs[order]), most)) + 1
    return np.concatenate([places[k] for k in order[:count]])
