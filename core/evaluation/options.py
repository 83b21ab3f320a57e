"""Options of measuring how good a network is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DataError, percent_hint

if TYPE_CHECKING:  # options load without what computes
    from .task import Task

__all__ = ["EvaluateOptions", "TaskOptions"]


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What is measured, where the data decides which task that is.

    Raises:
        DataError: an option is out of range.
    """

    top: Sequence[int] = (1, 5)
    """Classifiers: a sample is right if its label is among the K best scores, for each K."""

    score: float | None = None
    """Detectors: leave out boxes with a lower score. If not given: as the network's files say, or
    0.005."""

    suppress: float | None = None
    """Detectors: leave out a box that overlaps a better one of its class by more than this. If not
    given: as the network's files say, or 0.45."""

    overlap: float = 0.5
    """Detectors: a box is right if it overlaps the labelled one by at least this (intersection over
    union)."""

    output: str | None = None
    """Measure this output instead of the usual one."""

    def __post_init__(self) -> None:
        if not self.top or min(self.top) < 1:
            raise DataError("ranks must be at least 1", option="top")
        for name in ("score", "suppress", "overlap"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise DataError(
                    f"the {name} must be from 0 to 1, got {value:g}",
                    hint=percent_hint(value),
                    option=name,
                )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(TaskOptions):
    """What is measured, and how.

    Raises:
        DataError: an option is out of range.
    """

    task: Task | str | None = None
    """What the network is measured by, instead of what the data calls for: the name of a task."""

    threads: int | None = None
    """Threads per run. If not given, runs share the cores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads is not None and self.threads < 1:
            raise DataError(f"threads must be at least 1, got {self.threads}", option="threads")
