"""Learning rates by the number of the update.

Sources: sgd_solver.cpp `GetLearningRate`; network.c `get_current_rate`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

__all__ = [
    "BurnIn", "Constant", "Cosine", "Exponential", "Inverse", "MultiStep", "Polynomial", "Random",
    "Schedule", "Sigmoid", "Step", "Steps",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule(ABC):
    """A learning rate.

    Args:
        base: the rate that all others are multiples of.
    """

    base: float

    @property
    def end(self) -> int | None:
        """Updates after which the rate is no longer meant; None where it goes on for ever."""
        return None

    def step_of(self, number: int, step: int) -> int:
        """Return how many steps the rate has taken at an update.

        Args:
            number: finished updates.
            step: what this returned for the update before.
        """
        del number
        return step

    @abstractmethod
    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate at an update.

        Args:
            number: finished updates.
            step: what :meth:`step_of` returns for it.
        """

    def rates(self, count: int, first: int = 0, step: int = 0) -> list[float]:
        """Return the rates of updates one after another."""
        found = []
        for number in range(first, first + count):
            step = self.step_of(number, step)
            found.append(self.rate(number, step))
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant(Schedule):
    """Always the same."""

    def rate(self, number: int, step: int = 0) -> float:
        """Return the base."""
        del number, step
        return self.base


@dataclass(frozen=True, kw_only=True, slots=True)
class Step(Schedule):
    """Times `factor` every `every` updates."""

    factor: float
    every: int

    def step_of(self, number: int, step: int) -> int:
        """Return the number of whole spans that are over."""
        del step
        return number // self.every

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        return self.base * self.factor ** (number // self.every)


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiStep(Schedule):
    """Times `factor` at each of some updates, but only once an update."""

    factor: float
    at: tuple[int, ...]

    def step_of(self, number: int, step: int) -> int:
        """Return one more where the next of the updates is reached."""
        return step + 1 if step < len(self.at) and number >= self.at[step] else step

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del number
        return self.base * self.factor**step


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps(Schedule):
    """Times a factor of its own at each of some updates; the list ends at the first not reached."""

    at: tuple[int, ...]
    factors: tuple[float, ...]

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        rate = self.base
        for place, factor in zip(self.at, self.factors, strict=True):
            if place > number:
                break
            rate *= factor
        return rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Exponential(Schedule):
    """base · factorⁿ."""

    factor: float

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        return self.base * self.factor**number


@dataclass(frozen=True, kw_only=True, slots=True)
class Inverse(Schedule):
    """base · (1 + factor · n)^−power."""

    factor: float
    power: float

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        return self.base * (1 + self.factor * number) ** -self.power


@dataclass(frozen=True, kw_only=True, slots=True)
class Polynomial(Schedule):
    """base · (1 − n / length)^power; behind the end it rises again where the power is even."""

    power: float
    length: int

    @property
    def end(self) -> int | None:
        """Updates after which the rate is 0."""
        return self.length

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        # The engines compute in float32 what is left; near the end its rounding shows.
        left = float(np.float32(1) - np.float32(number) / np.float32(self.length))
        if left < 0 and not self.power.is_integer():
            return 0.0
        return float(self.base * left**self.power)


@dataclass(frozen=True, kw_only=True, slots=True)
class Random(Schedule):
    """base · U^power, with U even between 0 and 1; the same for the same update and seed."""

    power: float
    seed: int = 0

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        drawn = np.random.default_rng((self.seed, number)).random()
        return float(self.base * drawn**self.power)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sigmoid(Schedule):
    """base / (1 + e^(−factor · (n − middle))): it rises with a positive factor.

    Args:
        factor: steepness.
        middle: update at half of the base.
        late: the rate is 0 before the middle.
    """

    factor: float
    middle: int
    late: bool = False

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        if self.late and number < self.middle:
            return 0.0
        power = min(-self.factor * (number - self.middle), 700.0)
        return self.base / (1 + math.exp(power))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine(Schedule):
    """Half a cosine from the base to `least`, again and again, each time `factor` as long."""

    least: float
    cycle: int
    factor: int

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        del step
        start, length = 0, self.cycle
        while start + length < number:
            start += length
            length *= self.factor
        turn = math.cos((number - start) * 3.14159265 / length)
        return self.least + 0.5 * (self.base - self.least) * (1 + turn)


@dataclass(frozen=True, kw_only=True, slots=True)
class BurnIn(Schedule):
    """base · (n / length)^power before `length` updates, then another schedule."""

    length: int
    power: float
    then: Schedule

    @property
    def end(self) -> int | None:
        """The end of the schedule behind the beginning."""
        return self.then.end

    def step_of(self, number: int, step: int) -> int:
        """Return what the schedule behind the beginning returns."""
        return self.then.step_of(number, step)

    def rate(self, number: int, step: int = 0) -> float:
        """Return the rate."""
        if number < self.length:
            return float(self.base * (number / self.length) ** self.power)
        return self.then.rate(number, step)
