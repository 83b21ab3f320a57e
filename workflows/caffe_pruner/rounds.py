"""The steps of vai_p_caffe in its own workspace: ana, prune, finetune.

<workspace>/.ana.regular                        the analysis
<workspace>/regular_rate_<r>/sparse.caffemodel      the pruned weights, at full size
<workspace>/regular_rate_<r>/net_finetune.prototxt  the net that trains them
<workspace>/regular_rate_<r>/final.prototxt         the small net, for transformed weights
<workspace>/regular_rate_<r>/plan.yaml              which channels left; the vendor has no such file
<workspace>/regular_rate_<r>/snapshots/_iter_<n>.caffemodel
<workspace>/regular_rate_<r>/finetune/              history and best weights; likewise
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import gcd
from pathlib import Path

from ...core.cost.budgets import CONVOLUTIONS, OPERATIONS
from ...core.cost.network_cost import measure_cost
from ...core.coupling import find_groups
from ...core.errors import DataError, FormatError, located
from ...core.evaluation.summary import SummaryRow
from ...core.evaluation.task import find_task
from ...core.files import folder_aside, same_bytes, write_whole
from ...core.finetune.lessons import Lessons
from ...core.finetune.options import FinetuneOptions
from ...core.finetune.result import FinetuneEntry, FinetuneResult
from ...core.ir.digest import digest
from ...core.ir.network import Network
from ...core.plan.exclude import excluded_groups
from ...core.plan.files import load_plan
from ...core.plan.limits import Limits
from ...core.progress import Progress, silent
from ...core.pruning.densify import densify
from ...core.pruning.options import PruneOptions
from ...core.pruning.prune import prune
from ...core.pruning.result import PruneResult
from ...core.sensitivity import (
    Analysis,
    AnalyzeOptions,
    analyze,
    load_analysis,
    save_analysis,
)
from ...formats.caffe.solver import SolverFile, read_solver
from ...formats.options import LoadOptions
from ...formats.saving import PLAN_NAME, check_free, render, save
from ...formats.training import begin
from ..finetuning import finetune_files
from .counts import pruner_counts
from .project import FINAL, NET_FINETUNE, SNAPSHOTS, SPARSE, CaffeProject, found_file

__all__ = [
    "PrunedProject",
    "TunedProject",
    "analyze_project",
    "finetune_project",
    "prune_project",
    "training_text",
]

FINETUNED = "finetune"
"""Folder with the history and the best weights, in the folder of a rate."""

MULTIPLE = 2
"""Channels stay in multiples of this. Source: logs of the vendor's AlexNet (96·0.7 → 68)."""

MOST_MEASUREMENTS = 100
"""A training is measured so often at most."""

USUAL_MEASUREMENTS = 10
"""A training is measured so often where the solver asks for no snapshots."""


@dataclass(frozen=True, kw_only=True)
class PrunedProject:
    """What pruning came to.

    Args:
        result: the sparse network and its plan.
        rows: accuracy, weights and operations, before and after, counted as the vendor does.
        whole: parameters and operations, fully connected layers included.
        folder: of the files.
        analysis: what numbers of channels were taken from.
    """

    result: PruneResult
    rows: tuple[SummaryRow, ...]
    whole: tuple[SummaryRow, ...]
    folder: Path
    analysis: Analysis


@dataclass(frozen=True, kw_only=True)
class TunedProject:
    """What fine-tuning came to.

    Args:
        result: the training.
        best: the best weights.
        last: the weights after the last update.
    """

    result: FinetuneResult
    best: Path
    last: Path


def analyze_project(project: CaffeProject, progress: Progress = silent) -> tuple[Analysis, bool]:
    """Return the sensitivity of each group, and whether it was there.

    It stands in the workspace. The net of a later round, with other weights, takes what was
    measured on the first one. Other data or other settings are measured anew.

    Args:
        project: the config.
        progress: told how far the work is.

    Raises:
        PlanError: nothing can be removed.
        DataError: the data does not fit, or the workspace cannot be written.
    """
    network, task = project.measure
    path = project.analysis_file
    check_free(path)
    known = load_analysis(path) if path.exists() else None
    later = known is not None and known.model_digest != digest(network)
    if known is not None and _whole(known, project) and (later or _same(known, project)):
        return known, True
    state = path.with_name(f"{path.name}.{_key(project)}.points")
    try:
        found = analyze(
            network,
            project.test_data,
            AnalyzeOptions(task=task, exclude=project.exclude),
            state=state,
            progress=progress,
        )
    except DataError as error:
        if error.where.file == str(state):
            error.hint = f"remove {state} to measure anew"
        raise
    save_analysis(found, path)
    return found, False


def _key(project: CaffeProject) -> str:
    """Return a short text that is another one for other networks, data or figures."""
    data, (network, task) = project.test_data, project.measure
    known = f"{digest(network)} {data.name} {data.samples} {task.metric}"
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def _same(known: Analysis, project: CaffeProject) -> bool:
    """Whether an analysis measured what a config says."""
    data, (_, task) = project.test_data, project.measure
    measured = (known.data, known.samples, known.metric)
    return measured == (data.name, data.samples, task.metric)


def _whole(known: Analysis, project: CaffeProject) -> bool:
    """Whether an analysis is of a net of this form, and has the curves of all that may leave."""
    groups = find_groups(project.network)
    sizes = {group.name: (group.layers, len(group.units)) for group in groups.groups}
    if any(sizes.get(own.name) != (own.layers, own.channels) for own in known.groups):
        return False
    wanted = {group.name for group in groups.groups if group.prunable}
    wanted -= excluded_groups(project.network, groups, project.exclude)
    return wanted <= {group.name for group in known.groups}


def prune_project(project: CaffeProject, progress: Progress = silent) -> PrunedProject:
    """Prune at the rate of a config, and write what the vendor's pruner does.

    Args:
        project: the config.
        progress: told how far the work is.

    Raises:
        FormatError: the config says no rate, or the workspace cannot be written.
        PlanError: the rate is out of reach, or nothing can be removed.
        DataError: the data does not fit.
        VerificationError: the sparse network does not compute what the small one does.
    """
    folder = project.folder
    for name in (SPARSE, NET_FINETUNE, FINAL, PLAN_NAME):
        check_free(folder / name)
    analysis, _ = analyze_project(project, progress)
    network = project.network
    result = prune(
        network,
        PruneOptions(
            rate=project.rate, criterion="obs", analysis=analysis, exclude=project.exclude,
            budget=counted_by(network), limits=Limits(round_to=MULTIPLE), sparse=True,
        ),
        data=project.calibration,
        progress=progress,
    )  # fmt: skip
    small = densify(result.network, result.plan, repair="none", progress=progress)
    rows = _rows(project, result.network, small.network, analysis, progress)
    with folder_aside(folder, error=FormatError) as aside:
        save(result, aside / SPARSE, data=project.calibration, progress=progress)
        save(small.network, aside / FINAL, progress=progress)
        (aside / SPARSE).with_suffix(".prototxt").replace(folder / NET_FINETUNE)
        for name in (FINAL, PLAN_NAME, SPARSE):
            (aside / name).replace(folder / name)
    return PrunedProject(
        result=result, rows=rows, whole=_whole_rows(network, small.network), folder=folder,
        analysis=analysis,
    )  # fmt: skip


def counted_by(network: Network) -> str:
    """Return what a rate counts: operations of convolutions, where there are any."""
    cost = measure_cost(network, find_groups(network))
    return CONVOLUTIONS if cost.convolution_operations else OPERATIONS


def _rows(
    project: CaffeProject, sparse: Network, small: Network, analysis: Analysis, progress: Progress
) -> tuple[SummaryRow, ...]:
    """Return the rows of the vendor's summary: fully connected layers count in none of them."""
    before = analysis.original_value
    if before is None or not _same(analysis, project):
        before = project.figure(project.network, progress)
    after = project.figure(sparse, progress)
    counts = [_counted(network) for network in (project.network, small)]
    (weights, operations), (fewer, less) = counts
    return (
        SummaryRow(item="Accuracy", original=before, compressed=after, relative=False),
        SummaryRow(item="Weights", original=weights, compressed=fewer),
        SummaryRow(item="Operations", original=operations, compressed=less, unit="Op"),
    )


def _whole_rows(network: Network, small: Network) -> tuple[SummaryRow, ...]:
    """Return parameters and operations of all layers."""
    before, after = (measure_cost(each, find_groups(each)) for each in (network, small))
    return (
        SummaryRow(item="Parameters", original=before.parameters, compressed=after.parameters),
        SummaryRow(
            item="Operations", original=before.operations, compressed=after.operations, unit="Op"
        ),
    )


def _counted(network: Network) -> tuple[int, int]:
    """Return weights and operations, as the vendor counts them."""
    counts = pruner_counts(network)
    return sum(each.weights for each in counts), sum(each.operations for each in counts)


def training_text(project: CaffeProject) -> Path:
    """Return the net that trains the pruned weights: the config's, where the user changed none.

    Raises:
        FormatError: the rate was not pruned yet.
    """
    folder = project.folder
    for name in (SPARSE, NET_FINETUNE, PLAN_NAME):
        if not (folder / name).is_file():
            raise FormatError(
                f"there is no file '{folder / name}'",
                hint=f"secateur prune -config {project.config.path} makes it",
                where=project.config.where("rate"),
            )
    changed = not same_bytes(folder / NET_FINETUNE, project.model)
    return folder / NET_FINETUNE if changed else project.model


def finetune_project(project: CaffeProject, progress: Progress = silent) -> TunedProject:
    """Train the pruned weights of a rate by the solver of a config; zeros stay zero.

    Args:
        project: the config.
        progress: told how far the work is.

    Raises:
        FormatError: the config says no solver, or the rate was not pruned yet.
        DataError: the data does not fit.
        UnsupportedError: PyTorch is not installed, or a layer cannot be trained.
    """
    solver = found_file(project.config, "solver", str(project.config.required("solver")))
    text, folder = training_text(project), project.folder
    schedule = read_solver(solver)
    shapes = {project.train.top: project.train.shape}
    files = (text, folder / SPARSE)
    start = begin(*files, solver=solver, options=LoadOptions(input_shapes=shapes))
    snapshots = _Snapshots(folder / SNAPSHOTS, schedule)
    lessons = Lessons(
        plan=load_plan(folder / PLAN_NAME), validation=project.test_data,
        task=find_task(start.network, project.test_data),
    )  # fmt: skip
    tuned = finetune_files(
        files, project.train_data, folder / FINETUNED,
        FinetuneOptions(
            own_solver=True, batch_size=project.train.batch, measurements=snapshots.measurements
        ),
        lessons=lessons, start=start, resume=True, tell=snapshots, progress=progress,
    )  # fmt: skip
    best = snapshots.keep(tuned.result.best.step, tuned.result.network)
    return TunedProject(
        result=tuned.result, best=best, last=snapshots.path(tuned.result.history[-1].step)
    )


class _Snapshots:
    """Writes the weights of measurements as Caffe writes snapshots."""

    def __init__(self, folder: Path, solver: SolverFile):
        self._folder = folder
        self._every, self._last = solver.snapshot, solver.max_iter

    @property
    def measurements(self) -> int:
        """How often a training is measured, so that every snapshot is if they are not too many."""
        if not 0 < self._every < self._last:
            return USUAL_MEASUREMENTS
        return min(self._last // gcd(self._every, self._last), MOST_MEASUREMENTS)

    def path(self, step: int) -> Path:
        """Return the file of a snapshot."""
        return self._folder / f"_iter_{step}.caffemodel"

    def __call__(self, entry: FinetuneEntry, network: Network) -> None:
        """Write the weights, where the solver wants a snapshot."""
        many = self.measurements == MOST_MEASUREMENTS  # any measured step stands for one near it
        due = self._every > 0 and (many or entry.step % self._every == 0)
        if entry.step and (due or entry.step == self._last):
            self.keep(entry.step, network)

    def keep(self, step: int, network: Network) -> Path:
        """Write the weights of a step, and return the file.

        Raises:
            FormatError: it cannot be written.
        """
        path = self.path(step)
        with located(file=str(self._folder)):
            try:
                self._folder.mkdir(exist_ok=True)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        write_whole(path, render(network)[".caffemodel"], error=FormatError)
        return path
