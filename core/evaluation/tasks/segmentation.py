"""Segmentation: the class of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.base import Dataset
from ...data.targets import Targets
from ...errors import DataError
from ...ir.dims import shape_text
from ...ir.heads import map_output
from ...ir.network import Network
from ..metrics.metric import Metric
from ..metrics.segmentation import PixelMetric, Pixels
from ..task import TASKS, USUAL, Task, TaskOptions

__all__ = ["Segmentation"]


@dataclass(frozen=True)
class Segmentation(Task):
    """Mean intersection over union of the classes.

    Args:
        output: the output with the scores, N×classes×H×W.
        classes: how many.
    """

    output: str
    classes: int

    name = "segmentation"
    summary = "mean intersection over union of the classes of pixels"
    metric = Pixels.metric
    unit = "%"
    points = 100.0
    target_kind = "pixels"

    @classmethod
    def of(
        cls,
        network: Network,
        dataset: Dataset,  # noqa: ARG003
        options: TaskOptions = USUAL,
    ) -> Segmentation:
        """Return the task of a network that makes maps.

        Raises:
            DataError: the network makes none.
        """
        name = options.output or map_output(network)
        shape = network.outputs.get(name, ())
        if len(shape) != 4 or not isinstance(shape[1], int):
            raise DataError(f"output '{name}' ({shape_text(shape)}) is no map of classes")
        return cls(name, shape[1])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The scores of the classes."""
        return (self.output,)

    def label_count(self, network: Network) -> int | None:  # noqa: ARG002
        """Return how many classes a pixel may have."""
        return self.classes

    def make_metric(self) -> PixelMetric:
        """Return a fresh metric."""
        return PixelMetric(self.output, self.classes)

    def best_case(self, original: Metric, targets: Targets) -> Metric:  # noqa: ARG002
        """Return that every pixel is taken for what it is."""
        assert isinstance(original, PixelMetric)
        return original.all_right()


TASKS.add(Segmentation.name, entry=Segmentation)
