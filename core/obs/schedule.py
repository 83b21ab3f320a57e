"""Passes of structured OBS: remove a part of the rate, refit the rest, measure everything anew.

The loss of a removal is known for the network as it is. The further pruning goes, the less these
losses hold. So after every :data:`STRIDE` of the cost, the moments and the output sensitivities are
measured again on the remaining network. Before that, every remaining layer is refitted to the
original's outputs, so that errors do not add up.

A removal stops at a rate, or where the network would lose more than allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..evaluation.loss import LossMeter
from ..ir.network import Network
from ..plan.quotas import Quotas, partitions
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..repair.refit import refit
from ..statistics.moments import InputMoments, InputSample, gather_moments
from ..statistics.operators import Operator, find_operators
from .consumers import readers
from .output_sensitivity import DISTURBANCE_SIZE, measure_output_sensitivities
from .removal_error import find_removal_errors
from .select import Goal, select_units

__all__ = ["HALVINGS", "STRIDE", "remove_to_loss", "remove_to_rate"]

STRIDE = 0.15
"""Largest part of the original's cost that one pass removes. Measured on ResNet-20 and a
MobileNetV2 detector: half of it takes more time and is not better; all at once is far worse."""

HALVINGS = 4
"""Times that the pass is halved in which a network came to lose too much."""


def remove_to_rate(state: PruningState, goal: Goal, progress: Progress = silent) -> PruningState:
    """Remove units by structured OBS until a fraction of the cost is removed.

    Args:
        state: before the first pass, with data to calibrate on.
        goal: how far to go. With a rate of 0, what its quotas and `first` demand is removed.
        progress: told how far the work is.

    Returns:
        the state with compensated weights, with zeros where earlier passes removed something.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = find_operators(state.original)
    number = _passes(state, goal)
    for turn in range(1, number + 1):
        measured = _Measured.of(state, operators, progress)
        quotas = _part(goal.quotas, turn, number) if goal.rate == 0 else goal.quotas
        first = tuple(unit for unit in goal.first if not state.removed[unit])
        part = replace(goal, rate=goal.rate * turn / number, quotas=quotas, first=first)
        state = measured.removed_from(state, part, progress)
        if turn < number:
            state = state.with_weights(refit(state, state.dense(), progress))
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
    place to :data:`STRIDE` / 2^:data:`HALVINGS` of the cost. Bisection assumes that losses rise
    with the rate; measured on few samples they may fall again further out.

    Args:
        state: before the first pass, with data to calibrate on.
        goal: costs, limits and quotas; its rate is not read.
        threshold: loss allowed for the whole network, in the unit of the meter.
        meter: measures the loss.
        progress: told how far the work is.

    Returns:
        as :func:`remove_to_rate`; nothing is removed where the first step loses too much.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = find_operators(state.original)

    def tried(start: PruningState, measured: _Measured, rate: float) -> _Trial:
        found = measured.removed_from(start, replace(goal, rate=rate), progress)
        dense = refit(found, found.dense(), progress)
        loss = meter.loss(meter.value(dense, progress=progress))
        return _Trial(state=found, dense=dense, allowed=loss <= threshold)

    best, low = state, 0.0
    while True:
        measured = _Measured.of(state, operators, progress)
        trial = tried(state, measured, low + STRIDE)
        if not trial.allowed or np.array_equal(trial.state.removed, best.removed):
            break
        best, low = trial.state, low + STRIDE
        state = trial.refitted
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


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A removal that was tried, refitted, and measured."""

    state: PruningState
    dense: Network
    allowed: bool

    @cached_property
    def refitted(self) -> PruningState:
        """The state with the refitted weights."""
        return self.state.with_weights(self.dense)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """What a pass knows of the network it starts from."""

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
            state.full, reading, state.data, errors, progress=progress
        )
        return cls(operators=operators, moments=moments, sensitivities=sensitivities)

    def removed_from(self, state: PruningState, goal: Goal, progress: Progress) -> PruningState:
        """Return what selection makes of a state with these measurements."""
        return select_units(state, self.operators, self.moments, self.sensitivities, goal, progress)


def _passes(state: PruningState, goal: Goal) -> int:
    """Return how many passes a rate takes; with a rate of 0, how many the quotas take."""
    fraction, whole = goal.rate, goal.costs.total()
    if not goal.rate:
        groups = state.groups
        removed = groups.mask(
            unit
            for number, (index, partition) in enumerate(partitions(groups))
            for share in partition
            for unit in groups.groups[index].members(share[: goal.quotas.get(number, 0)])
        )
        fraction = 1.0 - goal.costs.total(removed) / whole if whole else 0.0
    return max(1, int(np.ceil(fraction / STRIDE - 1e-9)))


def _part(quotas: Quotas, turn: int, number: int) -> Quotas:
    """Return the quotas of a pass."""
    return {partition: count * turn // number for partition, count in quotas.items()}
