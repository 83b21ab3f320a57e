"""Making the models of a study, and measuring each against the original on the same samples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..cost.network_cost import measure_cost
from ..coupling import Groups, find_groups
from ..data import Dataset
from ..errors import SecateurError
from ..evaluation.measure import measured_each
from ..evaluation.metrics.metric import Metric
from ..evaluation.resample import Resampling, interval_of
from ..evaluation.task import Task, merged
from ..ir.network import Network
from ..ir.windows import restored
from ..progress import Progress, silent
from ..pruning.prune import prune
from ..pruning.result import PruneResult
from .images import FewImages
from .options import StudyOptions
from .points import StudyPoint

__all__ = ["Bench", "PointOutcome", "StudyFigures", "Tune", "original_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFigures:
    """What a model came to. Intervals hold the true value with 95 % (:mod:`..evaluation.resample`).

    Args:
        samples: how many it was calibrated on.
        achieved: fraction of the budget that is gone.
        operations: of one sample.
        parameters: stored values.
        size: bytes of its files.
        value: the metric (0…1 for accuracy, mean average precision …), or the divergence.
        value_interval: between which values the metric lies.
        loss: by how much it is worse than the original's, in the metric's own unit.
        loss_interval: likewise, of the difference of both networks on the same samples.
        pruned_value: the metric before fine-tuning; None where nothing was fine-tuned.
        notes: what users should know of it.
    """

    samples: int
    achieved: float
    operations: int
    parameters: int
    size: int
    value: float
    value_interval: tuple[float, float]
    loss: float
    loss_interval: tuple[float, float]
    pruned_value: float | None = None
    notes: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StudyFigures:
        """Return what plain values tell.

        Raises:
            KeyError, TypeError, ValueError: they are none of these.
        """
        low, high = ((float(a), float(b)) for a, b in (data["value_interval"],
                                                       data["loss_interval"]))  # fmt: skip
        return cls(
            **{**data, "value_interval": low, "loss_interval": high, "notes": tuple(data["notes"])}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PointOutcome:
    """A point that was tried.

    Args:
        point: the point.
        measured: what its model came to; None where none could be made.
        reason: why none could be made; "" where one was.
        result: the model.
    """

    point: StudyPoint
    measured: StudyFigures | None = None
    reason: str = ""
    result: PruneResult | None = None


Tune = Callable[[PruneResult, StudyPoint, Dataset], PruneResult]
"""Fine-tunes a model on some data."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all points have in common; it can be sent to other processes.

    Args:
        network: the original.
        groups: its groups.
        data: samples for calibration, and training.
        val: samples that models are measured on.
        task: what is measured there.
        options: of the study.
        before: the metric of the original on each sample; empty for distances from it.
        before_value: the original's figure; None for distances from it.
        few: draws images of each class; None where nobody asks for them.
        size: returns the bytes that the files of a network have.
        tune: fine-tunes; None where nothing does.
    """

    network: Network
    groups: Groups
    data: Dataset
    val: Dataset
    task: Task
    options: StudyOptions
    before: Sequence[Metric]
    before_value: float | None
    few: FewImages | None
    size: Callable[[Network], int]
    tune: Tune | None = None

    def make(self, point: StudyPoint) -> PointOutcome:
        """Make and measure the model of a point; what keeps it from that is told, not raised."""
        try:
            return self._made(point)
        except SecateurError as error:
            return PointOutcome(point=point, reason=str(error))

    def _made(self, point: StudyPoint) -> PointOutcome:
        data = self.data
        if point.images is not None:
            assert self.few is not None, "somebody asks for few images"
            data = self.few.drawn(data, point.images, point.seed)
        result = prune(self.network, point.pruning(self.options), groups=self.groups, data=data)
        pruned = None
        if self.tune is not None:
            pruned = self.value(self.each(result.network))
            result = self.tune(result, point, data)
        measured = self._measured(result, data, pruned)
        return PointOutcome(point=point, measured=measured, result=result)

    def each(self, network: Network) -> list[Metric]:
        """Return the metric of a network on each sample."""
        return measured_each(network, self.val, self.task, original=self.network)

    def value(self, parts: Sequence[Metric]) -> float:
        """Return the figure of all samples."""
        return float(merged(self.task, parts).compute().value)

    def _measured(self, result: PruneResult, data: Dataset, pruned: float | None) -> StudyFigures:
        network = restored(result.network)
        cost = measure_cost(network, find_groups(network))
        parts = self.each(network)
        value = self.value(parts)
        draws = Resampling(len(parts))
        values = draws.values(self.task, parts)
        losses = values
        if self.before_value is not None:
            others = draws.values(self.task, self.before)
            losses = np.array(
                [self.task.loss(*pair) for pair in zip(values, others, strict=True)], np.float64
            )
        return StudyFigures(
            samples=data.samples,
            achieved=float(result.plan.provenance["rate"]["achieved"]),
            operations=cost.operations,
            parameters=cost.parameters,
            size=self.size(result.network),
            value=value,
            value_interval=interval_of(values),
            loss=self.task.loss(value, self.before_value),
            loss_interval=interval_of(losses),
            pruned_value=pruned,
            notes=result.notes,
        )

    def __sizeof__(self) -> int:
        # Dask sends large arguments to each worker once, and looks at this.
        values = self.network.graph.initializers.values()
        stored = sum(v.const_value.nbytes for v in values if v.const_value is not None)
        return 1024 + stored + sys.getsizeof(self.before)


def original_of(
    network: Network, val: Dataset, task: Task, progress: Progress = silent
) -> tuple[list[Metric], float | None]:
    """Return the metric of the original on each sample, and its figure; none for distances.

    Raises:
        DataError: the data does not fit.
    """
    if task.needs_original:
        return [], None
    parts = measured_each(network, val, task, progress=progress)
    return parts, float(merged(task, parts).compute().value)
