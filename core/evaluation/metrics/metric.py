"""What every metric does: take in batches, add up with others of its kind, give figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np

from ...data.targets import Targets

__all__ = ["Additive", "Figure", "Metric", "Resampled", "Result"]


class Result(Protocol):
    """What a metric gives: its main figure, and perhaps more."""

    @property
    def metric(self) -> str:
        """Name of the main figure."""
        ...

    @property
    def value(self) -> float:
        """The main figure."""
        ...

    @property
    def samples(self) -> int:
        """How many samples it is of."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A result of one figure.

    Args:
        metric: its name.
        value: the figure.
        samples: how many samples it is of.
        skipped: samples that could not be read.
    """

    metric: str
    value: float
    samples: int
    skipped: int = 0


class Metric(ABC):
    """Sums over batches from which figures follow.

    A metric is small and can be pickled: a worker makes a fresh one and updates it with one batch,
    and whoever asked merges them in the order of the samples. So threads, processes and machines
    give the same figures as a loop.
    """

    __slots__ = ()

    @abstractmethod
    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch.

        Args:
            outputs: what the network computes, by name; the samples along axis 0.
            targets: what that is compared with.

        Raises:
            DataError: the targets do not fit the outputs.
        """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another metric has seen, which stays as it is.

        Args:
            other: made alike; its samples come behind those of this one.
        """

    @abstractmethod
    def compute(self) -> Result:
        """Return the figures of all samples so far."""


@runtime_checkable
class Additive(Protocol):
    """A metric whose figure follows from sums over samples."""

    def sums(self) -> np.ndarray:
        """Return the sums of the samples so far, a vector of float64."""
        ...

    def figures(self, sums: np.ndarray) -> np.ndarray:
        """Return the figure of each row of sums [rows].

        Args:
            sums: rows × sums, at least one sample in each row.
        """
        ...


@runtime_checkable
class Resampled(Protocol):
    """A metric that gives the figures of samples that count several times, all at once."""

    def weighted(self, parts: Sequence[Metric], weights: np.ndarray) -> np.ndarray:
        """Return the figure of each row of weights [rows].

        Args:
            parts: metrics like this one, of some samples each.
            weights: rows × parts, how often each of them counts.
        """
        ...
