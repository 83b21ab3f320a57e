"""Training at sizes of the input that change from time to time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

__all__ = ["FactorSizes", "Sizes", "SquareSizes"]

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes(ABC):
    """Sizes of the input, the same for some updates one after another.

    A size follows from the seed and the number of the update alone, so that an interrupted training
    goes on with it.

    Args:
        step: sizes are multiples of this, in pixels.
        every: updates that have the same size.
        last: so many updates at the end of a schedule of the files have the largest size, so that
            statistics settle at one.
    """

    step: int = 32
    every: int = 10
    last: int = 0

    def size(self, own: Size, update: int, seed: int, left: int | None = None) -> Size:
        """Return height and width of the input at an update.

        Args:
            own: those of the network.
            update: updates of this training before.
            seed: decides what is drawn.
            left: updates until the schedule of the files ends; None where there is none.
        """
        place = update // self.every
        if left is not None and left + update % self.every < self.last:
            return self.largest(own)
        return self.drawn(own, place, np.random.default_rng((seed, SIZES, place)))

    @abstractmethod
    def largest(self, own: Size) -> Size:
        """Return the largest size."""

    @abstractmethod
    def smallest(self, own: Size) -> Size:
        """Return the smallest size."""

    @abstractmethod
    def drawn(self, own: Size, place: int, random: np.random.Generator) -> Size:
        """Return a size that is drawn; `place` counts the draws."""


SIZES = 5
"""What a generator is for; keeps the numbers of different purposes apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FactorSizes(Sizes):
    """The network's size times a factor or divided by it, rounded up to a multiple of the step.

    The first size is the largest: whether memory suffices shows at once. Source: detector.c
    `train_detector` (AlexeyAB).

    Args:
        factor: largest factor.
    """

    factor: float = 1.4

    def largest(self, own: Size) -> Size:
        """Return the size at the largest factor."""
        return self._size(own, self.factor)

    def smallest(self, own: Size) -> Size:
        """Return the size at the smallest factor."""
        return self._size(own, 1 / self.factor)

    def drawn(self, own: Size, place: int, random: np.random.Generator) -> Size:
        """Return the size at a factor between 1 and the largest, or its inverse."""
        if place == 0:
            return self.largest(own)
        factor = random.uniform(min(1.0, self.factor), max(1.0, self.factor))
        return self._size(own, factor if random.integers(2) else 1 / factor)

    def _size(self, own: Size, factor: float) -> Size:
        found = tuple(max(1, _rounded(factor * side / self.step + 1)) * self.step for side in own)
        if factor < 1 and any(new > side for new, side in zip(found, own, strict=True)):
            return own
        return found[0], found[1]


def _rounded(number: float) -> int:
    """Return the nearest whole number, halves upwards, as C's `round` does for positive ones."""
    return int(np.floor(number + 0.5))


@dataclass(frozen=True, kw_only=True, slots=True)
class SquareSizes(Sizes):
    """Squares between two sides. Source: detector.c `train_detector` (pjreddie).

    Args:
        least: smallest side, in steps.
        most: largest side, in steps.
    """

    least: int = 10
    most: int = 19

    def largest(self, own: Size) -> Size:
        """Return the square of the largest side."""
        del own
        return self.most * self.step, self.most * self.step

    def smallest(self, own: Size) -> Size:
        """Return the square of the smallest side."""
        del own
        return self.least * self.step, self.least * self.step

    def drawn(self, own: Size, place: int, random: np.random.Generator) -> Size:
        """Return a square with one of the sides, all equally often."""
        del own, place
        side = int(random.integers(self.least, self.most + 1)) * self.step
        return side, side
