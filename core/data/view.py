"""What a dataset made of another one has of it."""

from __future__ import annotations

from ..ir.network import Preprocess
from .base import Dataset, TargetKind, target_kind
from .stated import used_preprocess

__all__ = ["DatasetView"]


class DatasetView:
    """The base of datasets that give samples of another one, with all that is known of them.

    Args:
        dataset: the other one.
        samples: how many of its samples they give; None for all.
    """

    def __init__(self, dataset: Dataset, samples: int | None = None):
        self._dataset = dataset
        self.name = dataset.name
        self.samples = dataset.samples if samples is None else samples
        self.labelled = dataset.labelled

    @property
    def problems(self) -> tuple[str, ...]:
        """Messages about the samples that the last pass skipped."""
        return self._dataset.problems

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each sample."""
        return target_kind(self._dataset)

    @property
    def preprocess(self) -> Preprocess | None:
        """How pixels become inputs; None where the inputs come as they are."""
        return used_preprocess(self._dataset)
