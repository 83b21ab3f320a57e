"""Shapley values of channels: Ancona et al., Shapley Value as Principled Metric for Structured
Network Pruning, 2020 (arXiv 2006.01795); Adamczewski et al., Shapley Pruning for Neural Network
Compression, 2024 (arXiv 2407.15875).

The players are the channels of one group that may be removed; the game is by how much the loss
grows without some of them, all other groups unchanged. A missing channel is 0 where layers read it,
behind its activation. The value of a channel is signed: the loss is smaller without a channel of
negative value, so it leaves first.

`shapley` fits least squares, `shapley-permutation` takes means over orders (:mod:`
.shapley_estimators`). Both go on until the order of a group's channels is settled, or its passes
are used up. They draw the same numbers each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..progress import detailed
from .registry import ScoreContext, Scores, criterion
from .removal import Absent, absences
from .shapley_estimators import EXACT, MOST, Estimator, Shapley, exact, least_squares, permutations

__all__ = ["SAMPLES", "GroupValues", "shapley_values"]

SAMPLES = 256
"""Samples that the loss is measured on, the first ones."""

SEED = 0
"""Of what is drawn, beside the number of a group."""

COST = (
    f"up to {MOST} passes for each channel, through the layers behind it, over up to "
    f"{SAMPLES} samples"
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupValues:
    """Shapley values of the channels of one group.

    Args:
        group: its name.
        units: the units of the channels that may be removed.
        found: their values, with their confidence intervals and the passes that were made.
    """

    group: str
    units: tuple[int, ...]
    found: Shapley


@criterion(
    "shapley",
    summary="mean loss change by the channel over all orders of removal; least squares",
    source="Adamczewski et al., arXiv 2407.15875",
    needs_data=True,
    uses_labels=True,
    cost=COST,
    comparable=True,
)
def shapley(context: ScoreContext) -> Scores:
    """Return the Shapley value of each unit in its group, by least squares.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    return _scores(context, least_squares)


@criterion(
    "shapley-permutation",
    summary="mean loss change by the channel over random orders of removal",
    source="Ancona et al., arXiv 2006.01795",
    needs_data=True,
    uses_labels=True,
    cost=COST,
    comparable=True,
)
def shapley_permutation(context: ScoreContext) -> Scores:
    """Return the Shapley value of each unit in its group, by means over random orders.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    return _scores(context, permutations)


def shapley_values(
    context: ScoreContext, estimator: Estimator = least_squares
) -> Iterator[GroupValues]:
    """Yield the Shapley values of each group that has channels to remove.

    Args:
        context: what a criterion is given.
        estimator: :func:`~.shapley_estimators.least_squares` or
            :func:`~.shapley_estimators.permutations`; groups of few channels need none.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    total = sum(MOST * len(group.removable()) for group in context.groups.groups)
    finished = 0
    context.progress("shapley", 0, total)
    for number, absent in enumerate(absences(context, SAMPLES)):
        own = _Game(absent, context, finished, total)
        players = len(absent.units)
        if players <= EXACT:
            found = exact(own, players)
        else:
            found = estimator(own, players, np.random.default_rng((SEED, number)), MOST)
        finished += MOST * players
        context.progress(detailed("shapley", absent.group.name), finished, total)
        yield GroupValues(group=absent.group.name, units=tuple(absent.units), found=found)
    context.progress("shapley", total, total)


class _Game:
    """The game of one group; it tells how far the work is.

    Args:
        absent: measures the network without some channels.
        context: has the progress.
        finished: passes of the groups before.
        total: passes of all groups at most.
    """

    def __init__(self, absent: Absent, context: ScoreContext, finished: int, total: int):
        self._absent, self._context = absent, context
        self._done, self._total = finished, total

    def __call__(self, absent: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return self._absent.changes(absent, self._advance)

    def _advance(self, passes: int) -> None:
        self._done += passes
        label = detailed("shapley", self._absent.group.name)
        self._context.progress(label, min(self._done, self._total - 1), self._total)


def _scores(context: ScoreContext, estimator: Estimator) -> Scores:
    scores = np.zeros(context.groups.unit_count)
    for own in shapley_values(context, estimator):
        scores[list(own.units)] = own.found.values
    return scores
