"""The table of criteria by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..channels.groups import Groups
from ..errors import PlanError
from ..ir.network import Network

__all__ = ["CRITERIA", "Criterion", "Scores", "criterion", "find_criterion"]

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A named way to score channels.

    `score(network, groups)` returns one number for each class of `groups`; the lowest leave first.
    """

    name: str
    summary: str
    source: str
    score: Callable[[Network, Groups], Scores]


CRITERIA: dict[str, Criterion] = {}


def criterion(
    name: str, *, summary: str, source: str
) -> Callable[[Callable[[Network, Groups], Scores]], Callable[[Network, Groups], Scores]]:
    """Register a scoring function under a name."""

    def register(
        function: Callable[[Network, Groups], Scores],
    ) -> Callable[[Network, Groups], Scores]:
        if name in CRITERIA:
            raise RuntimeError(f"two criteria are called {name!r}")
        CRITERIA[name] = Criterion(name, summary, source, function)
        return function

    return register


def find_criterion(name: str) -> Criterion:
    """Return the criterion of a name.

    Raises:
        PlanError: there is none; names the known ones.
    """
    if name not in CRITERIA:
        near = difflib.get_close_matches(name, CRITERIA, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(CRITERIA))}"
        raise PlanError(f"unknown criterion '{name}'", hint=hint)
    return CRITERIA[name]
