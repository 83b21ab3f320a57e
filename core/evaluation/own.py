"""Tasks of a function: a user says in a few lines what a network is measured by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.targets import Targets
from ..errors import DataError
from ..ir.network import Network
from ..own import guarded, name_of
from .metrics.metric import Figure, Metric
from .task import Task

__all__ = ["FunctionMetric", "FunctionTask", "as_task"]

Measure = Callable[[Mapping[str, np.ndarray], Targets], float]
"""Gives a figure for the outputs of all samples, by name, and what they are compared with."""


class FunctionMetric(Metric):
    """A function of all outputs and targets. It keeps them all until it is asked for the figure.

    Args:
        task: what is measured.
    """

    __slots__ = ("_outputs", "_targets", "_task")

    def __init__(self, task: FunctionTask):
        self._task = task
        self._outputs: list[Mapping[str, np.ndarray]] = []
        self._targets: list[Targets] = []

    def update(self, outputs: Mapping[str, np.ndarray], targets: Targets) -> None:
        """Take in one batch."""
        names = self._task.outputs or tuple(outputs)
        self._outputs.append({name: np.array(outputs[name]) for name in names})
        self._targets.append(targets)

    def merge(self, other: FunctionMetric) -> None:
        """Take in what another one has seen."""
        self._outputs += other._outputs
        self._targets += other._targets

    def compute(self) -> Figure:
        """Return what the function gives.

        Raises:
            PlanError: it fails.
            DataError: it gives no number.
        """
        outputs = {
            name: _concatenated([part[name] for part in self._outputs]) for name in self._outputs[0]
        }
        targets = _joined(self._targets)
        with guarded("task", self._task.name):
            found = self._task.measure(outputs, targets)
        try:
            value = float(found)
        except (TypeError, ValueError):
            raise DataError(
                f"the task '{self._task.name}' gives {type(found).__name__}, not a number"
            ) from None
        return Figure(metric=self._task.metric, value=value, samples=targets.size)


@dataclass(frozen=True)
class FunctionTask(Task):
    """What a function measures, over all samples at once.

    Args:
        measure: takes outputs by name, [samples, …], and :class:`Targets` of all samples; returns
            the figure. An output that is one number for a batch is [batches]. To be used by several
            processes, it must stand in a module.
        name: of the task, and of the figure in tables and files; that of the function if empty.
        read: names of the outputs that it reads; empty for all.
        unit: as for :class:`Task`.
        points: likewise.
        higher_is_better: likewise.
    """

    measure: Measure
    name: str = ""  # type: ignore[misc]
    read: Sequence[str] = ()
    unit: str = ""  # type: ignore[misc]
    points: float = 1.0  # type: ignore[misc]
    higher_is_better: bool = True  # type: ignore[misc]
    metric: str = field(init=False, default="")  # type: ignore[misc]

    def __post_init__(self) -> None:
        name = self.name or name_of(self.measure)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "metric", name)
        object.__setattr__(self, "read", tuple(self.read))

    def __repr__(self) -> str:
        """Return its name, not the function."""
        return f"FunctionTask({self.name!r})"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are read; empty until the network is known."""
        return tuple(self.read)

    def on(self, network: Network) -> FunctionTask:
        """Return the task that reads all outputs of a network, where it names none."""
        if self.read:
            return self
        return FunctionTask(
            measure=self.measure, name=self.name, read=tuple(network.outputs), unit=self.unit,
            points=self.points, higher_is_better=self.higher_is_better,
        )  # fmt: skip

    def make_metric(self) -> FunctionMetric:
        """Return a fresh metric."""
        return FunctionMetric(self)


def as_task(given: Any) -> Task | str | None:
    """Return a task for what a user gave: a task, a name, None, or a function.

    Raises:
        DataError: it is none of them.
    """
    if given is None or isinstance(given, Task | str):
        return given
    if isinstance(given, type):
        raise DataError(f"{given.__name__} is a class, and a task is an object of it")
    if not callable(given):
        raise DataError(
            f"a task is a name, a Task or a function, not an object of type {type(given).__name__}"
        )
    return FunctionTask(given)


def _joined(parts: Sequence[Targets]) -> Targets:
    """Return the targets of all batches as one."""

    def rows(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if any(value is None for value in values):
            return None
        if isinstance(values[0], tuple):
            return tuple(one for value in values for one in value)
        return np.concatenate(values)

    return Targets(
        size=sum(part.size for part in parts), labels=rows("labels"), objects=rows("objects"),
        values=rows("values"), frames=rows("frames"), places=rows("places"),
        outputs={
            name: _concatenated([part.outputs[name] for part in parts])
            for name in parts[0].outputs
        },
    )  # fmt: skip


def _concatenated(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of all batches; those that give one number each give a vector of them."""
    return np.concatenate([np.atleast_1d(part) for part in parts])
