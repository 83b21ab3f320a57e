"""How far two distributions over classes are apart."""

from __future__ import annotations

import numpy as np

from .classification import log_probabilities

__all__ = ["Divergence"]


class Divergence:
    """The mean of KL(P ‖ Q) = Σ p · (ln p − ln q) over all samples, in nats."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._rows = 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take in scores of the reference and of the other network (N×classes, finite)."""
        p, q = log_probabilities(before), log_probabilities(after)
        self._sum += float((np.exp(p) * (p - q)).sum())
        self._rows += len(before)

    @property
    def value(self) -> float:
        """The mean so far; 0 without samples."""
        return self._sum / self._rows if self._rows else 0.0
