"""What a pipeline consists of. Each option is spelled, documented and checked here alone, or in the
option dataclass of the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from ...core.data.naming import is_made
from ...core.data.options import DataOptions
from ...core.engine.device import Device
from ...core.errors import DataError, FormatError, PlanError
from ...core.evaluation.options import EvaluateOptions
from ...core.finetune.options import FinetuneOptions
from ...core.finetune.sparsify import SparsifyOptions
from ...core.pruning.options import DensifyOptions, PruneOptions
from ...core.sensitivity.options import AnalyzeOptions
from ...formats.options import LoadOptions

__all__ = [
    "OUTPUT",
    "READING",
    "ROLES",
    "STEPS",
    "DataSource",
    "FinetuneStep",
    "Pipeline",
    "PruneStep",
]

STEPS = ("ana", "prune", "finetune", "transform", "valid")
"""The steps, in the order in which they run."""

ROLES = ("calibration", "training", "validation", "test")
"""What data is for."""

OUTPUT = Path("secateur-out")
"""The usual folder of what a pipeline makes."""

READING = ("root", "names", "ignore_label", "batch", "limit")
"""Fields of :class:`DataOptions` that belong to data; the others say how images become inputs."""

STAND_INS: Mapping[str, tuple[str, ...]] = {
    "calibration": ("calibration", "training"),
    "training": ("training", "calibration"),
    "validation": ("validation",),
    "test": ("test", "validation"),
}
"""What data is for → what is taken, the first that is given."""

IN_LOADING = LoadOptions()
UNSPARSE = SparsifyOptions()
TRAINING = FinetuneOptions()
AS_STATED = DataOptions()


@dataclass(frozen=True, kw_only=True)
class PruneStep(PruneOptions):
    """How a pipeline prunes.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    max_drop: float | None = None
    """With labels: go no further if accuracy drops by more percentage points."""


@dataclass(frozen=True, kw_only=True)
class FinetuneStep:
    """How a pipeline trains. The teacher is the model before pruning.

    Raises:
        DataError, PlanError: an option is out of range, or contradicts another.
    """

    options: FinetuneOptions = TRAINING
    """How the network is trained."""

    sparsify: SparsifyOptions = UNSPARSE
    """How channels leave during training."""

    solver: str | PathLike[str] | None = None
    """Caffe: a solver.prototxt, whose schedule is followed."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Data, and how it is read.

    Args:
        path: where it is.
        options: how it is read and made into inputs.
    """

    path: str | PathLike[str]
    options: DataOptions = AS_STATED


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Steps from a model to a smaller one. A step that is None is left out.

    Raises:
        FormatError: there is no model.
        DataError: a step lacks its data.
        PlanError: steps do not fit together.
    """

    model: Sequence[str | PathLike[str]]
    """The files of the model, in any order."""

    companions: Sequence[str | PathLike[str]] = ()
    """Further descriptions for the same weights, pruned with the model."""

    loading: LoadOptions = IN_LOADING
    """How the files are read."""

    data: Mapping[str, DataSource] = field(default_factory=dict)
    """Data by what it is for: calibration, training, validation, test."""

    preprocess: DataOptions = AS_STATED
    """How images become inputs, where that is not as the model's files say."""

    task: str | None = None
    """What the network is measured by, instead of what the data calls for: the name of a task."""

    device: str | None = None
    """Where networks run: cpu, auto, cuda, cuda:1, cuda:0,1 and so on; cpu if not given. `finetune`
    has a device of its own."""

    output: str | PathLike[str] = OUTPUT
    """Folder of all that is made: a folder a step."""

    report: str | PathLike[str] | None = None
    """A page over all steps, to look at and to hand on: an HTML file, or a folder for it. Needs
    the extra `report`."""

    ana: AnalyzeOptions | None = None
    """Measure what each group of channels is worth; pruning goes by it."""

    prune: PruneStep | None = None
    """Remove channels."""

    finetune: FinetuneStep | None = None
    """Train what is left."""

    transform: DensifyOptions | None = None
    """Take the zeros of a sparse model out."""

    valid: EvaluateOptions | None = None
    """Measure the models."""

    def __post_init__(self) -> None:
        if self.device is not None:
            Device.parse(self.device)
        if not self.model:
            raise FormatError("a pipeline needs a model", option="model")
        for role in self.data:
            if role not in ROLES:
                raise DataError(f"data is for {', '.join(ROLES)}, not for {role}", option="data")
        if not self.steps:
            raise PlanError(
                "a pipeline needs a step", hint=f"steps are {', '.join(STEPS)}", option="model"
            )
        self._check_data()
        self._check_steps()

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps that are there, in their order."""
        return tuple(name for name in STEPS if getattr(self, name) is not None)

    @property
    def sparse(self) -> bool:
        """Whether a model of full size with zeros comes out of pruning and training."""
        pruned = self.prune is not None and self.prune.sparse
        trained = self.finetune is not None and bool(self.finetune.sparsify.method)
        return pruned or trained

    def source(self, role: str) -> DataSource | None:
        """Return the data for a purpose; None where nothing fits it.

        Args:
            role: one of :data:`ROLES`.
        """
        return next((self.data[name] for name in STAND_INS[role] if name in self.data), None)

    def _check_data(self) -> None:
        """Raise where a step lacks its data."""
        needs = {"ana": "calibration", "finetune": "training", "valid": "test"}
        for step, role in needs.items():
            if getattr(self, step) is not None and self.source(role) is None:
                raise DataError(
                    f"{step} needs data", hint=f"data: {' or '.join(STAND_INS[role])}", option=step
                )
        if self.prune is not None and self.prune.max_drop is not None and not self.measured_on:
            raise DataError(
                "a limit on the accuracy drop needs labelled data",
                hint="data: validation", option="prune",
            )  # fmt: skip

    def _check_steps(self) -> None:
        """Raise where steps do not fit together."""
        if self.ana is not None and self.prune is not None and self.prune.analysis is not None:
            raise PlanError(
                "there are two analyses: that of ana, and one that prune names", option="prune"
            )
        if self.ana is not None and self.prune is not None and self.prune.plan is not None:
            raise PlanError("a plan says itself what is removed: ana is of no use", option="ana")
        own = self.finetune is not None and bool(self.finetune.sparsify.method)
        if own and self.prune is not None:
            raise PlanError(
                "channels leave either in prune or during training", hint="leave out one of prune "
                "and sparsify", option="finetune",
            )  # fmt: skip
        if self.transform is not None and not self.sparse:
            raise PlanError(
                "there is nothing to remove: the model has no zeros",
                hint="prune: mode: sparse keeps them for training; or leave transform out",
                option="transform",
            )

    @property
    def measured_on(self) -> DataSource | None:
        """The data that limits and figures look at: that for validation, else for calibration.

        Images that are made up measure nothing, unless the user gives them for validation.
        """
        found = self.source("validation")
        if found is None:
            found = self.source("calibration")
            if found is not None and is_made(Path(found.path)):
                return None
        return found
