"""What outputs are compared with: labels, objects, values, or the outputs of the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import Where
from .base import Batch, Frame, Objects

__all__ = ["Targets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What the outputs for some samples are compared with.

    Args:
        size: number of samples.
        labels: as in :class:`~.base.Batch`.
        objects: likewise.
        values: likewise.
        frames: likewise.
        places: likewise.
        outputs: what the original network computes, by the names of its outputs; empty where
            nothing is compared with it.
    """

    size: int
    labels: np.ndarray | None = None
    objects: tuple[Objects, ...] | None = None
    values: np.ndarray | None = None
    frames: tuple[Frame, ...] | None = None
    places: tuple[Where, ...] | None = None
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def of(batch: Batch, outputs: Mapping[str, np.ndarray] | None = None) -> Targets:
        """Return those of a batch.

        Args:
            batch: the samples.
            outputs: what the original network computes of them.
        """
        return Targets(
            size=batch.size,
            labels=batch.labels,
            objects=batch.objects,
            values=batch.values,
            frames=batch.frames,
            places=batch.places,
            outputs=outputs or {},
        )
