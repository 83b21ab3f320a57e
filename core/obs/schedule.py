"""Passes of structured OBS: remove a part of the rate, refit all layers, measure again.

The losses of removals are measured on the current network. The more units are removed, the less
exact they become. So after every :data:`STRIDE` of the cost, moments and output sensitivities are
measured again on the remaining network. Before that, every remaining layer is refitted to the
outputs of the original, so that errors do not add up.

A removal ends when a rate is reached, or before the network loses more than allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..cost.network_cost import operations_by_node
from ..coupling.groups import Groups
from ..coupling.indices import Unit
from ..evaluation.loss import LossMeter
from ..ir.network import Network
from ..plan.quotas import Quotas, partitions
from ..plan.state import PruningState
from ..progress import Progress, inside, silent
from ..repair.refit import refit
from ..statistics.moments import InputMoments, InputSample, gather_moments
from ..statistics.operators import Operator, find_operators
from .consumers import readers
from .output_sensitivity import DISTURBANCE_SIZE, measure_output_sensitivities
from .removal_error import find_removal_errors
from .select import Goal, select_units

__all__ = ["HALVINGS", "STRIDE", "remove_to_loss", "remove_to_rate", "remove_units"]

STRIDE = 0.15
"""Largest part of the original's cost that one pass removes. Measured on ResNet-20 and a
MobileNetV2 detector: passes of half the size take more time and are not better; a single pass is
far worse."""

HALVINGS = 4
"""Steps of bisection within the pass that loses too much."""


def remove_to_rate(state: PruningState, goal: Goal, progress: Progress = silent) -> PruningState:
    """Remove units by structured OBS until a fraction of the cost is removed.

    Args:
        state: the state before the first pass, with data for calibration.
        goal: where the removal ends. With a rate of 0, its quotas and `first` are removed.
        progress: reports the steps of each pass.

    Returns:
        the state with compensated weights. The weights of units that an earlier pass removed are 0.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = find_operators(state.original)
    count = _passes(state, goal)
    for number in range(1, count + 1):
        own = inside(progress, f"pass {number} of {count}")
        measured = _Measured.of(state, operators, own)
        quotas = _part(state.groups, goal.quotas, number, count) if goal.rate == 0 else goal.quotas
        first = tuple(unit for unit in goal.first if not state.removed[unit])
        rate, exact = goal.rate * number / count, number == count
        part = replace(goal, rate=rate, quotas=quotas, first=first, exact=exact)
        state = measured.removed_from(state, part, own)
        if number < count:
            state = state.with_weights(refit(state, state.dense(), own))
    return state


def remove_to_loss(
    state: PruningState,
    goal: Goal,
    threshold: float,
    meter: LossMeter,
    progress: Progress = silent,
) -> PruningState:
    """Remove units by structured OBS while the refitted network loses no more than allowed.

    The loss is measured after every pass. Within the pass that loses too much, bisection finds the
    largest allowed rate to :data:`STRIDE` / 2^:data:`HALVINGS` of the cost. Bisection assumes that
    the loss rises with the rate. Measured on few samples, it may fall again at higher rates.

    Args:
        state: the state before the first pass, with data for calibration.
        goal: costs, limits and quotas; its rate is not read.
        threshold: loss allowed for the whole network, in the unit of the meter.
        meter: measures the loss.
        progress: reports the steps of each pass.

    Returns:
        the state as from :func:`remove_to_rate`; `state` itself if the first step loses too much.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = find_operators(state.original)

    def tried(start: PruningState, measured: _Measured, rate: float) -> _Trial:
        part = replace(goal, rate=rate, exact=False)
        found = measured.removed_from(start, part, progress)
        dense = refit(found, found.dense(), progress)
        loss = meter.loss(meter.value(dense, progress=progress))
        return _Trial(state=found, dense=dense, allowed=loss <= threshold)

    best, low = state, 0.0
    measured = _Measured.of(state, operators, progress)
    while True:
        trial = tried(state, measured, low + STRIDE)
        if not trial.allowed:
            break
        if np.array_equal(trial.state.removed, best.removed):
            # A step may be larger than a pass: the next one may reach a whole one.
            if low + STRIDE >= 1.0:
                break
            low += STRIDE
            continue
        best, low = trial.state, low + STRIDE
        state = trial.refitted
        measured = _Measured.of(state, operators, progress)
    if trial.allowed:
        return best
    high = low + STRIDE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        trial = tried(state, measured, middle)
        if trial.allowed:
            best, low = trial.state, middle
        else:
            high = middle
    return best


def remove_units(
    state: PruningState, goal: Goal, units: Sequence[Unit], progress: Progress = silent
) -> PruningState:
    """Remove certain units by structured OBS, in passes of the usual size.

    Args:
        state: the state before the first pass, with data for calibration.
        goal: costs and floors; its rate is 0, and it has no quotas.
        units: what is removed, in this order.
        progress: reports the steps of each pass.

    Returns:
        the state with compensated weights.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = find_operators(state.original)
    whole = goal.costs.total()
    gone = 1.0 - goal.costs.total(state.groups.mask(units)) / whole if whole else 0.0
    count = _passes_of(gone)
    for number in range(1, count + 1):
        own = inside(progress, f"pass {number} of {count}")
        measured = _Measured.of(state, operators, own)
        part = units[len(units) * (number - 1) // count : len(units) * number // count]
        state = measured.removed_from(state, replace(goal, first=tuple(part)), own)
        if number < count:
            state = state.with_weights(refit(state, state.dense(), own))
    return state


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A trial removal, refitted and measured."""

    state: PruningState
    dense: Network
    allowed: bool

    @cached_property
    def refitted(self) -> PruningState:
        """The state with the refitted weights."""
        return self.state.with_weights(self.dense)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """Measurements of a pass on the network that it starts from."""

    operators: Sequence[Operator]
    moments: Mapping[str, InputMoments | InputSample]
    sensitivities: Mapping[str, float]

    @classmethod
    def of(
        cls, state: PruningState, operators: Sequence[Operator], progress: Progress
    ) -> _Measured:
        """Measure the moments and output sensitivities of the operators."""
        assert state.data is not None, "OBS is chosen where there is data"
        moments = gather_moments(state.full, operators, state.data, progress=progress)
        reading = readers(state, operators)
        errors = find_removal_errors(state, reading, moments, DISTURBANCE_SIZE**2, progress)
        sensitivities = measure_output_sensitivities(
            state.full,
            reading,
            state.data,
            errors,
            operations=operations_by_node(state.full, state.groups),
            progress=progress,
        )
        return cls(operators=operators, moments=moments, sensitivities=sensitivities)

    def removed_from(self, state: PruningState, goal: Goal, progress: Progress) -> PruningState:
        """Return the state after the selection of units by these measurements."""
        return select_units(state, self.operators, self.moments, self.sensitivities, goal, progress)


def _passes(state: PruningState, goal: Goal) -> int:
    """Return the number of passes for a rate; with a rate of 0, the number for the quotas."""
    fraction, whole = goal.rate, goal.costs.total()
    if not goal.rate:
        groups = state.groups
        removed = groups.mask(
            unit
            for number, (index, partition) in enumerate(partitions(groups))
            for share, lost in zip(partition, goal.quotas.get(number, ()), strict=False)
            for unit in groups.groups[index].members(share[:lost])
        )
        fraction = 1.0 - goal.costs.total(removed) / whole if whole else 0.0
    return _passes_of(fraction)


def _passes_of(fraction: float) -> int:
    """Return the number of passes for a fraction of the cost."""
    return max(1, int(np.ceil(fraction / STRIDE - 1e-9)))


def _part(groups: Groups, quotas: Quotas, number: int, count: int) -> Quotas:
    """Return the quotas of pass `number` of `count`."""
    found = {}
    for index, (_, partition) in enumerate(partitions(groups)):
        if index in quotas:
            path = [(0,) * len(partition), *partition.path(end=quotas[index])]
            found[index] = path[(len(path) - 1) * number // count]
    return found
