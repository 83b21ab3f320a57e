"""Outputs of an original that are kept, so that it is computed once for many networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["KEPT_BYTES", "KeptOutputs"]

KEPT_BYTES = 1 << 28
"""Largest outputs of the original that are kept; larger ones are computed for every network."""


class KeptOutputs:
    """The outputs for one batch after the other, or nothing once they are too large."""

    def __init__(self) -> None:
        self._found: list[Mapping[str, np.ndarray]] = []
        self._bytes = 0

    def add(self, outputs: Mapping[str, np.ndarray]) -> bool:
        """Take in those of the next batch, and return whether all that were given are kept."""
        self._bytes += sum(array.nbytes for array in outputs.values())
        if self._bytes > KEPT_BYTES:
            self._found.clear()
            return False
        self._found.append(outputs)
        return True

    @property
    def found(self) -> tuple[Mapping[str, np.ndarray], ...] | None:
        """Those of every batch; None where they are too large."""
        return tuple(self._found) if self._bytes <= KEPT_BYTES else None
