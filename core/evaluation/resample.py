"""The bootstrap: how sure a figure is, told by samples that are drawn again from the samples.

Of n samples, n are drawn with replacement, and the figure of these is computed; and so a thousand
times. The middle 95 % of the figures are the interval. Figures of two networks are computed on the
same draws, so that the interval of their difference is that of paired samples.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .metrics.metric import Additive, Metric, Resampled
from .task import Task, merged

__all__ = ["DRAWS", "Interval", "Resampling", "interval_of"]

DRAWS = 1000
"""How often samples are drawn. Source: Efron and Tibshirani, section 13.3."""

SEED = 0
"""Of what is drawn: equal samples give equal intervals."""

PART = 4_000_000
"""Weights that are in memory at once."""

WIDEST = 1 << 22
"""Sums of all samples that are in memory at once; metrics with more are merged one by one."""

Interval = tuple[float, float]
"""Between which values the true one lies (95 %)."""


def interval_of(values: np.ndarray) -> Interval:
    """Return the values that the middle 95 % of some values lie between: the 25th and the 975th.

    Args:
        values: :data:`DRAWS` figures.
    """
    ordered = np.sort(values)
    place = len(ordered) // 40  # 2.5 % on each side
    return float(ordered[place - 1]), float(ordered[len(ordered) - place - 1])


@dataclass(frozen=True)
class Resampling:
    """Draws of some samples, the same ones for every network.

    Args:
        samples: how many there are.
        draws: how often so many are drawn.
    """

    samples: int
    draws: int = DRAWS

    def weights(self) -> Iterator[np.ndarray]:
        """Yield how often each sample was drawn, in parts of the draws: draws × samples."""
        random = np.random.default_rng(SEED)
        rows = max(1, PART // self.samples)
        for start in range(0, self.draws, rows):
            count = min(rows, self.draws - start)
            yield np.stack([self._drawn(random) for _ in range(count)])

    def _drawn(self, random: np.random.Generator) -> np.ndarray:
        places = random.integers(self.samples, size=self.samples)
        return np.bincount(places, minlength=self.samples)

    def values(self, task: Task, parts: Sequence[Metric]) -> np.ndarray:
        """Return the figure of every draw [draws].

        Args:
            task: what was measured.
            parts: the metric of each sample alone.
        """
        of_weights = _figures(task, parts)
        return np.concatenate([of_weights(weights) for weights in self.weights()])


def _figures(task: Task, parts: Sequence[Metric]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the figures of weights (rows × parts)."""
    first = parts[0]
    if isinstance(first, Resampled):
        return lambda weights: first.weighted(parts, weights)
    if isinstance(first, Additive):
        sums = first.sums()
        if len(sums) * len(parts) <= WIDEST:
            table = np.stack([part.sums() for part in parts if isinstance(part, Additive)])
            infinite = ~np.isfinite(table)
            finite = np.where(infinite, 0.0, table)

            def of_sums(weights: np.ndarray) -> np.ndarray:
                added = weights @ finite
                if infinite.any():  # a product would make NaN of samples that were not drawn
                    added[(weights @ infinite) > 0] = np.inf
                return first.figures(added)

            return of_sums
    places = np.arange(len(parts))

    def of_copies(weights: np.ndarray) -> np.ndarray:
        drawn = ([parts[place] for place in np.repeat(places, row).tolist()] for row in weights)
        return np.array([float(merged(task, some).compute().value) for some in drawn])

    return of_copies
