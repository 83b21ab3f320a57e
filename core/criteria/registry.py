"""The table of criteria by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..data import Dataset
from ..errors import PlanError, nearest_hint
from ..ir.network import Network

__all__ = ["CRITERIA", "Criterion", "Scores", "criterion", "find_criterion"]

Scores = npt.NDArray[np.float64]
Score = Callable[[Network, Groups, Dataset | None], Scores]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A named way to score channels.

    `score(network, groups, data)` returns one number for each unit of `groups`; the lowest leave
    first. `data` is None where the user gave none; only criteria with `needs_data` read it.
    """

    name: str
    summary: str
    source: str
    score: Score
    needs_data: bool = False


CRITERIA: dict[str, Criterion] = {}


def criterion(
    name: str, *, summary: str, source: str, needs_data: bool = False
) -> Callable[[Score], Score]:
    """Register a scoring function under a name."""

    def register(function: Score) -> Score:
        if name in CRITERIA:
            raise RuntimeError(f"two criteria are called {name!r}")
        CRITERIA[name] = Criterion(name, summary, source, function, needs_data)
        return function

    return register


def find_criterion(name: str) -> Criterion:
    """Return the criterion of a name.

    Raises:
        PlanError: there is none; names the known ones.
    """
    if name not in CRITERIA:
        otherwise = f"known are {', '.join(sorted(CRITERIA))}"
        hint = nearest_hint(name, CRITERIA, otherwise)
        raise PlanError(f"unknown criterion '{name}'", hint=hint)
    return CRITERIA[name]
