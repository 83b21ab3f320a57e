"""A learning rate by a short test: it rises until the loss does.

Source: Smith 2017, arXiv 1506.01186 (range test).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

from ..training.module import TrainingModule
from ..training.recipe import Rule
from ..training.solvers.schedule import Exponential
from ..training.solvers.settings import Method, Settings
from ..training.solvers.solver import Solver

__all__ = ["found_rate"]

STEPS = 30
FIRST, LAST = 1e-6, 3e-2
"""Rates of the first and the last step."""

SMOOTHED = 0.7
"""Share of the old value in the moving mean of the loss."""

RISE = 1.3
"""The test ends where the smoothed loss is so many times its least."""

SAFETY = 0.2
"""The rate is so much of the one at the least loss: training takes it for hundreds of steps."""


def found_rate(
    module: TrainingModule,
    rules: Sequence[Rule],
    method: Method,
    step: Callable[[TrainingModule, int], float],
) -> float:
    """Return a learning rate for a network; the network stays as it is.

    Args:
        module: the network.
        rules: what is trained.
        method: of the solver.
        step: computes the loss of a batch, given its number, and its gradients.
    """
    trial = copy.deepcopy(module).train()
    factor = (LAST / FIRST) ** (1 / (STEPS - 1))
    settings = Settings(method=method, schedule=Exponential(base=FIRST, factor=factor))
    solver = Solver(trial, rules, settings)
    mean = least = math.inf
    best = FIRST
    for number in range(STEPS):
        rate = solver.rate
        loss = step(trial, number)
        if not math.isfinite(loss):
            break
        mean = loss if math.isinf(mean) else SMOOTHED * mean + (1 - SMOOTHED) * loss
        if mean < least:
            least, best = mean, rate
        elif mean > RISE * least:
            break
        solver.step()
    return SAFETY * best
