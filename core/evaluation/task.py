"""What a network is for, and how well it does that: chosen once, and asked by all that measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from ..data.arrays import AnyData, as_dataset
from ..data.base import Dataset, TargetKind, target_kind
from ..data.targets import Targets
from ..errors import DataError
from ..ir.heads import is_classifier
from ..ir.network import Network
from ..registry import Registry
from .metrics.metric import Metric
from .options import TaskOptions

__all__ = ["TASKS", "USUAL", "Task", "TaskOptions", "find_task", "merged"]


class Task(ABC):
    """What a network is for: what its outputs are compared with, and by which figure.

    A task belongs to the outputs of one network, and serves all that is made from it. A training
    loss, where a task has one, will be one more method beside :meth:`make_metric`.

    To measure something else, derive a class. Give it `name` and `metric`, the outputs it reads,
    and a metric. To find it by name, register it in :data:`TASKS` and give it :meth:`of`.
    """

    __slots__ = ()

    name: ClassVar[str]
    """What it is called in :data:`TASKS`."""
    summary: ClassVar[str] = ""
    """One line for `--task help`."""
    metric: ClassVar[str]
    """Name of the main figure. It names what was measured in files, so that two tasks that
    measure differently need different names."""
    unit: ClassVar[str] = ""
    """"%" for shares of 1, which are printed in percent; else a unit ("nats"), or nothing."""
    points: ClassVar[float] = 1.0
    """Points that a figure of 1 counts as where losses are limited (`max_drop`): 100 for shares."""
    higher_is_better: ClassVar[bool] = True
    needs_original: ClassVar[bool] = False
    """Whether outputs are compared with those of the original network. The figure is then a
    distance, 0 for the original itself."""
    target_kind: ClassVar[TargetKind | None] = None
    """What samples need to have; None for a task that looks for itself."""

    @classmethod
    def of(cls, network: Network, dataset: Dataset, options: TaskOptions) -> Task:  # noqa: ARG003
        """Return the task of a network that is measured on some data.

        Raises:
            DataError: it does not fit the network or the data.
        """
        raise DataError(f"the task '{cls.name}' cannot be made by its name, give the task itself")

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are read."""

    def label_count(self, network: Network) -> int | None:  # noqa: ARG002
        """Return how many classes labels may be of; None where labels are no classes.

        Args:
            network: what is measured.
        """
        return None

    @abstractmethod
    def make_metric(self) -> Metric:
        """Return a fresh metric that gives the main figure."""

    def make_full_metric(self) -> Metric:
        """Return a fresh metric that gives all figures, which may take longer."""
        return self.make_metric()

    def loss(self, value: float, original_value: float | None) -> float:
        """Return by how much a figure is worse than the original's; negative for a gain.

        Args:
            value: the figure.
            original_value: that of the original; None for distances from it.
        """
        if original_value is None:
            return value
        return original_value - value if self.higher_is_better else value - original_value

    def best_case(self, original: Metric, targets: Targets) -> Metric | None:  # noqa: ARG002
        """Return what some samples would give if nothing could be better.

        No metric of these samples gives a smaller loss in its place, whatever other samples give.
        None where nobody knows; loss curves then end early nowhere.

        Args:
            original: what the original network gives on the samples.
            targets: of the samples; without outputs of the original.
        """
        return None

    def text(self, value: float, digits: int = 3) -> str:
        """Return a figure, or a loss of it, as people read it.

        Args:
            value: the figure.
            digits: significant digits of what is not printed in percent.
        """
        return f"{100 * value:.2f} %" if self.unit == "%" else f"{value:.{digits}g}"


USUAL = TaskOptions()
"""What is measured where a user says nothing."""

TASKS: Registry[type[Task]] = Registry(
    "task", package=f"{__package__}.tasks", group="secateur.tasks", error=DataError
)
"""Tasks by their names."""

BY_TARGETS: dict[TargetKind, str] = {
    "label": "classification",
    "objects": "detection",
    "pixels": "segmentation",
    "values": "regression",
}
"""Kind of targets → the task that needs them."""


def find_task(
    network: Network,
    dataset: AnyData,
    task: Task | str | None = None,
    options: TaskOptions = USUAL,
) -> Task:
    """Return what a network is measured by.

    Args:
        network: the network.
        dataset: what it is measured on.
        task: a task, the name of one in :data:`TASKS`, or None for the one that the targets of the
            data call for. Without targets that is how far outputs are from those of the original:
            the divergence of a classifier's classes, the error of other outputs.
        options: what the user says about a task that is given by name or found.

    Raises:
        DataError: no task has this name, or it does not fit the data or the network.
    """
    from .own import FunctionTask, as_task  # a task itself, so it stands above

    dataset, task = as_dataset(dataset, network), as_task(task)
    task = task.on(network) if isinstance(task, FunctionTask) else task
    kind = target_kind(dataset)
    if task is None:
        otherwise = "divergence" if is_classifier(network) else "output-error"
        task = BY_TARGETS.get(kind, otherwise)
    found = TASKS.find(task).of(network, dataset, options) if isinstance(task, str) else task
    if found.target_kind is not None and found.target_kind != kind:
        has = f"targets of the kind '{kind}'" if kind else "none"
        raise DataError(
            f"the task '{found.name}' needs targets of the kind '{found.target_kind}', "
            f"{dataset.name} has {has}"
        )
    for name in found.outputs:
        if name not in network.outputs:
            raise DataError(
                f"network '{network.name}' has no output '{name}'",
                hint=f"it has {', '.join(network.outputs)}",
            )
    return found


def merged(task: Task, parts: Iterable[Metric]) -> Metric:
    """Return one metric of what several have seen, in their order."""
    total = task.make_metric()
    for part in parts:
        total.merge(part)
    return total
