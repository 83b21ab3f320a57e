"""The registry of criteria, and the context of a criterion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..data import Dataset
from ..data.calibration import Calibration
from ..errors import PlanError
from ..evaluation.task import Task, find_task
from ..ir.network import Network
from ..own import guarded, named, summary_of
from ..progress import Progress, silent
from ..registry import Registry
from ..training.framework import check_installed

__all__ = ["CRITERIA", "Criterion", "ScoreContext", "Scores", "criterion", "named_criterion"]

Scores = npt.NDArray[np.float64]
"""One number for each unit [units]; the lowest are removed first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreContext:
    """The context of a criterion.

    Args:
        network: the network before pruning.
        groups: its groups.
        data: samples with their labels; None if the user gave none. Only criteria that need data
            read it.
        measured_by: the task that the user gave, or its name; None for what the data calls for.
        progress: told how far the work is, by criteria that take long.
        jobs: threads of criteria that make many passes, as for :func:`~..engine.spread.spread`.
    """

    network: Network
    groups: Groups
    data: Dataset | None = None
    measured_by: Task | str | None = None
    progress: Progress = silent
    jobs: int | None = None

    @property
    def calibration(self) -> Calibration:
        """The first samples of the data, without labels."""
        assert self.data is not None, "the registry says that the criterion needs data"
        return Calibration(self.data)

    @property
    def task(self) -> Task:
        """What the network is for.

        Raises:
            DataError: the task does not fit the data or the network.
        """
        assert self.data is not None, "the registry says that the criterion needs data"
        return find_task(self.network, self.data, self.measured_by)


Score = Callable[[ScoreContext], Scores]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A named way to score channels.

    Args:
        name: name for users.
        summary: one line for `--criterion help`.
        source: its paper or code.
        score: returns one number for each unit.
        needs_data: whether it reads data.
        uses_labels: whether it reads the labels of classifiers, where there are any.
        gradients: whether it needs gradients, and so PyTorch.
        cost: what it takes, for `--criterion help`; "" where that is next to nothing.
        comparable: whether scores of different groups are on one scale: what the loss changes by.
            One ranking of all groups then takes them as they are.
        spreads: whether it makes many passes, which several threads or machines share.
    """

    name: str
    summary: str
    source: str
    score: Score
    needs_data: bool = False
    uses_labels: bool = False
    gradients: bool = False
    cost: str = ""
    comparable: bool = False
    spreads: bool = False

    @property
    def described(self) -> str:
        """The whole text for `--criterion help`: what it is, needs and costs."""
        needs = ["--data"] * self.needs_data + ["PyTorch"] * self.gradients
        text = f"{self.summary} ({self.source})."
        if needs:
            text += f" Needs {' and '.join(needs)}."
        if self.uses_labels:
            text += " Reads labels where there are any."
        return text + (f" Cost: {self.cost}." if self.cost else "")

    def check(self) -> None:
        """Raise where what it needs is not installed.

        Raises:
            UnsupportedError: there is no PyTorch; it says what to install.
        """
        if self.gradients:
            check_installed(f"criterion '{self.name}'")


CRITERIA: Registry[Criterion] = Registry(
    "criterion", package=__name__.rpartition(".")[0], group="secateur.criteria"
)
"""Every criterion by its name."""


def named_criterion(given: str | Score | Criterion) -> str:
    """Return the name of a criterion: a function becomes one.

    Args:
        given: a name, or a function from a :class:`ScoreContext` to one number a unit.

    Raises:
        PlanError: it is none of them, or has the name of another criterion.
    """
    return named(CRITERIA, given, _own)


def _own(name: str, function: Score) -> Criterion:
    def score(context: ScoreContext) -> Scores:
        with guarded("criterion", name):
            found = np.asarray(function(context), np.float64)
        if found.shape != (context.groups.unit_count,) or np.isnan(found).any():
            raise PlanError(
                f"the criterion '{name}' must give a number for each of "
                f"{context.groups.unit_count} units, and gives an array {found.shape}"
                + (" with NaN" if np.isnan(found).any() else "")
            )
        return found

    return Criterion(name, summary_of(function), "given as a function", score)


def criterion(
    name: str,
    *,
    summary: str,
    source: str,
    needs_data: bool = False,
    uses_labels: bool = False,
    gradients: bool = False,
    cost: str = "",
    comparable: bool = False,
    spreads: bool = False,
) -> Callable[[Score], Score]:
    """Register a scoring function as a criterion; see :class:`Criterion` for the arguments."""

    def register(function: Score) -> Score:
        entry = Criterion(
            name, summary, source, function, needs_data, uses_labels, gradients, cost, comparable,
            spreads,
        )  # fmt: skip
        CRITERIA.add(name, entry=entry)
        return function

    return register
