"""How a network is trained: what it is fed with, in which stages and how long; what comes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.augment.training import TrainingSamples
from ..data.prefetch import ahead
from ..engine.threads import cores
from ..plan.plan import Plan
from ..training.recipe import Rule
from ..training.solvers.settings import Method, Settings
from ..training.solvers.solver import Progress as SolverProgress
from ..training.team import ALONE, Team
from .result import FinetuneEntry
from .sizes import Resizing
from .sparsity import Sparsity
from .stages import Stage
from .targets import tensors_of
from .teacher import Teacher

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Course", "Feeding", "Outcome"]


@dataclass(frozen=True, kw_only=True)
class Feeding:
    """Where batches come from, as a network and its losses read them.

    Args:
        samples: what is trained on.
        labels: what losses call the labels.
        classes: how many there are, for mixed samples.
        background: the class of nothing, where losses count it; None where none does.
        teacher: whose values are compared; None without one.
        device: where tensors are to be.
        resizing: sizes of the input that change; None for the network's own alone.
        team: the processes that train together; each has its part of every batch.
    """

    samples: TrainingSamples
    labels: tuple[str, ...]
    classes: int
    teacher: Teacher | None
    device: str
    background: int | None = None
    resizing: Resizing | None = None
    team: Team = ALONE

    def made(self, batch: Any) -> dict[str, Tensor]:
        """Return the tensors of a batch, with the teacher's values."""
        found = tensors_of(batch, self.labels, self.classes, self.device, self.background)
        if self.teacher is not None:
            found.update(self.teacher(found))
        return found

    def batches(
        self, first: int, count: int, *, resized: bool = False
    ) -> Iterator[dict[str, Tensor]]:
        """Yield this process's part of batches from one number on, read ahead in threads.

        Args:
            first: their number in the training, from 0.
            count: how many.
            resized: at the sizes that are drawn, not at the network's own.
        """

        def work(number: int) -> Any:
            epoch, place = divmod(number, self.samples.batches)
            size = self.size(number) if resized else None
            return self.samples.batch_of(epoch, place, size, (self.team.rank, self.team.size))

        for batch in ahead(work, range(first, first + count), cores()):
            yield self.made(batch)

    def size(self, number: int) -> tuple[int, int]:
        """Return height and width of the input for a batch of the training."""
        own = self.samples.size[1], self.samples.size[2]
        return own if self.resizing is None else self.resizing.size(number)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a network is trained.

    Args:
        stages: in order.
        steps: updates of all stages.
        rules: what the solver does with each parameter.
        method: of the solver.
        settings: those of the user's solver file, which then count instead of method and rate.
        seen: images that earlier training saw.
        state: how far the solver came in it, where it is known.
        keep_solver: whether the state of the solver at the best measurement is of use.
        learning_rate: highest rate; None to find it.
        decay: weight decay.
        measurements: how often the network is measured.
        patience: measurements without a better one after which training ends; None for no end.
        checkpoint: seconds between checkpoints.
        precision: type that the network is computed in.
        masks: parameter → 1 where it may differ from 0.
        sparsity: how channels leave during training; None where none do.
        key: digest of all that the training depends on.
    """

    stages: tuple[Stage, ...]
    steps: int
    rules: tuple[Rule, ...]
    method: Method
    settings: Settings | None = None
    seen: int = 0
    state: SolverProgress | None = None
    keep_solver: bool = False
    learning_rate: float | None = None
    decay: float = 0.0
    measurements: int = 10
    patience: int | None = None
    checkpoint: float = math.inf
    precision: str = "float32"
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    sparsity: Sparsity | None = None
    key: str = ""

    @property
    def passes(self) -> int:
        """Batches of an update."""
        return self.settings.passes if self.settings is not None else 1

    @property
    def tested(self) -> bool:
        """Whether the learning rate is known, so that no test has to find it."""
        return self.settings is not None or self.learning_rate is not None

    def lengths(self) -> list[int]:
        """Return the updates of each stage; each has one at least."""
        ends = np.cumsum([stage.share for stage in self.stages])
        marks = np.rint(self.steps * ends / ends[-1]).astype(int)
        return [max(1, int(n)) for n in np.diff(np.concatenate([[0], marks]))]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the loop came to.

    Args:
        history: all measurements.
        best: the best of them.
        steps: updates that were made.
        images: samples a second.
        notes: what a user must know.
        solver: how far the user's solver had come at the best measurement; None without one.
        plan: which channels left during training; None where none were to.
    """

    history: tuple[FinetuneEntry, ...]
    best: FinetuneEntry
    steps: int
    images: float
    notes: tuple[str, ...]
    solver: SolverProgress | None = None
    plan: Plan | None = None
