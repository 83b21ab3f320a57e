"""A learning rate by two short tests; its course in a stage.

In the first, it rises until the loss of a few batches does. That says what the network bears, not
what it learns from: without batch normalization, rates by which these batches are learned by heart
make others worse. So the second trains a copy for some updates, and takes a lower rate where those
that are held out are worse after them.

Source: Smith 2017, arXiv 1506.01186 (range test), with two changes for networks that are nearly
good already. The same few batches come again and again, each compared with its own first loss:
losses of different batches differ by more than a step changes them. And the rate is taken from
where the loss explodes, since it hardly falls before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

from ..training.module import TrainingModule
from ..training.recipe import Rule
from ..training.solvers.schedule import BurnIn, Constant, Cosine, Exponential, Schedule
from ..training.solvers.settings import Method, Settings
from ..training.solvers.solver import Solver

__all__ = ["BATCHES", "JUDGED", "TRIED", "UPDATES", "borne_rate", "found_rate", "schedule_of",
           "trial_schedule"]  # fmt: skip

BATCHES = 4
"""Batches that the test goes through again and again."""

STEPS = 40
FIRST, LAST = 1e-5, 1e-1
"""Rates of the first and the last step."""

SMOOTHED = 0.5
"""Share of the old value in the moving mean of the ratio of losses."""

EXPLODED = 2.0
"""The test ends where losses are so many times their first."""

SAFETY = 0.05
"""The rate is at most so much of the one where losses explode: training takes it for hundreds of
steps."""

BEST, BETTER = 0.3, 0.97
"""Where losses fell below `BETTER` of their first, the rate is at most `BEST` of the one where they
were least: a network that is far from good hardly explodes."""

TRIED = 20
"""Updates after which samples that are held out must not be worse. Measured on SqueezeNet, half of
it pruned: a rate of 2.9e-4 makes them worse by 11 to 18 % within 10 to 40 updates, 1e-4 better by 4
to 8 %. With ResNet-20, of which 70 % is pruned, 1e-3 is as good as lower rates."""

TRIALS = 2
"""Rates that are tried; a third one is taken without."""

LOWER = 1 / 3
"""The next rate to try, as a part of the one before."""

UPDATES = STEPS + TRIED
"""Updates that both tests take, where the first rate is good."""

JUDGED = 2
"""How often they measure samples that are held out then."""

LARGEST = 1e-3
"""The rate is never more. Source: the default of Adam (Kingma 2015, arXiv 1412.6980)."""

WARM_UP = 0.05
"""Share of a stage's steps in which the learning rate rises."""

LEAST_RATE = 0.01
"""The learning rate ends at this part of the highest."""


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
        step: adds the gradients of a batch, given its number below :data:`BATCHES`, and returns its
            loss.
    """
    trial = copy.deepcopy(module).train()
    factor = (LAST / FIRST) ** (1 / (STEPS - 1))
    settings = Settings(method=method, schedule=Exponential(base=FIRST, factor=factor))
    solver = Solver(trial, rules, settings)
    first: list[float] = []
    mean, rate = 1.0, FIRST
    least, best = BETTER, math.inf
    for number in range(STEPS):
        rate = solver.rate
        loss = step(trial, number % BATCHES)
        if not math.isfinite(loss):
            break
        if number < BATCHES:
            first.append(max(loss, 1e-12))
        mean = SMOOTHED * mean + (1 - SMOOTHED) * loss / first[number % BATCHES]
        if mean > EXPLODED:
            break
        if number >= BATCHES and mean < least:
            least, best = mean, rate
        solver.step()
    return min(SAFETY * rate, BEST * best, LARGEST)


def borne_rate(rate: float, before: float, after: Callable[[float], float]) -> float:
    """Return the highest of a few rates that does not make a network worse.

    Args:
        rate: the first to try.
        before: loss of the samples held out.
        after: the same after some updates at a rate.
    """
    for _ in range(TRIALS):
        if after(rate) <= before:
            break
        rate *= LOWER
    return rate


def trial_schedule(rate: float) -> Schedule:
    """Return a rate that rises for a few updates and stays."""
    return BurnIn(base=rate, length=TRIED // 3, power=1.0, then=Constant(base=rate))


def schedule_of(rate: float, length: int, *, level: bool) -> Schedule:
    """Return a rate that rises for a short while and falls along half a cosine.

    Args:
        rate: the highest.
        length: updates.
        level: do not let it fall: while channels leave, the others have to make up for them.
    """
    warm = max(1, round(WARM_UP * length))
    then: Schedule = Constant(base=rate)
    if not level:
        then = Cosine(base=rate, least=LEAST_RATE * rate, cycle=max(1, length), factor=1)
    return BurnIn(base=rate, length=warm, power=1.0, then=then)
