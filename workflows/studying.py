"""Studies in a folder: points that go on after any stop, the best models, tables and a plot.

While a study is under way, its folder holds a journal of the points that are done, and a hidden
folder with the models that no other one beats so far. Results appear in the end, each whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.cost.network_cost import measure_cost
from ..core.coupling import find_groups
from ..core.data import Dataset
from ..core.data.arrays import AnyData, as_dataset
from ..core.data.shards import fingerprint_of
from ..core.engine.threads import within_cores
from ..core.errors import FormatError, PlanError, located
from ..core.evaluation.fitted import fit_data
from ..core.evaluation.task import Task
from ..core.files import alone_in, folder_aside, json_bytes, made_folder, write_whole
from ..core.ir.digest import digest
from ..core.ir.network import Network
from ..core.options import options_of
from ..core.plan.exclude import check_excluded
from ..core.progress import Progress, silent
from ..core.report.study_plot import plotted
from ..core.study.images import FewImages
from ..core.study.make import Bench, original_of
from ..core.study.options import StudyOptions
from ..core.study.points import check_names
from ..core.study.result import FRONT_TABLE, STUDY_FILE, STUDY_TABLE, Study
from ..core.training.framework import check_installed
from ..formats.saving import check_free, check_target, file_bytes, stored_bytes
from .pipeline.cache import STEP_FILE
from .study_points import BEST, MODELS, TUNING, StudyRun, StudyTuning

__all__ = ["PLOT_FILE", "study"]

BEST_FILE = "best.json"
"""The file in the folder of the best models that says which they are."""

PLOT_FILE = "study.svg"
"""The plot of all families."""

VERSION = 1
"""Counts up when the same settings no longer give the same points."""


def study(
    network: Network,
    data: AnyData,
    val: AnyData,
    options: StudyOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    restart: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Study:
    """Compare methods of pruning by the models that they make at several rates.

    Every point (method, repair, rate, images of each class, seed) is pruned, repaired and, where
    that is asked for, fine-tuned as :func:`prune` and :func:`finetune` do it, and measured. Points
    that cannot be made are rows with their reason.

    Args:
        network: the original.
        data: samples for calibration and training; labelled for few images of each class.
        val: samples that models are measured on.
        options: what is compared.
        output: folder for results, the best models and finished points, from which a killed run
            goes on. Points of the same network and data are found there whatever else was compared.
            None to keep no files.
        restart: forget the points that are there.
        progress: told how far the work is.
        settings: fields of :class:`StudyOptions`, instead of `options`.

    Raises:
        PlanError: options do not fit the network, a name is unknown, or nothing can be removed.
        DataError: the data does not fit, the folder holds a study of something else, or another run
            is at work in it.
        FormatError: the folder cannot be written.
        UnsupportedError: models are to be fine-tuned, and PyTorch is not installed, or a layer
            cannot be trained.
    """
    data, val = as_dataset(data, network), as_dataset(val, network)
    options = options_of(StudyOptions, options, settings)
    check_names(options)
    found = _Found.of(network, data, val, options)
    with ExitStack() as held:
        if output is None:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="secateur-")))
        else:
            folder = Path(output)
            _check_folder(network, folder)
            held.enter_context(made_folder(folder, FormatError))
        held.enter_context(alone_in(folder))
        held.enter_context(within_cores())
        came_to, models = _studied(network, found, options, folder, progress, restart=restart)
        if output is None:
            rows = tuple(replace(row, model="") for row in came_to.rows)
            return replace(came_to, rows=rows)
        notes = _write_results(folder, came_to, models)
    return replace(came_to, notes=(*came_to.notes, *notes))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """Data that fits, and what is measured."""

    data: Dataset
    val: Dataset
    task: Task
    notes: tuple[str, ...]

    @classmethod
    def of(cls, network: Network, data: Dataset, val: Dataset, options: StudyOptions) -> _Found:
        """Check all that can be checked before long work.

        Raises:
            DataError, PlanError, UnsupportedError: something does not fit.
        """
        if not any(group.prunable for group in find_groups(network).groups):
            raise PlanError("no channel of this network can be removed")
        check_excluded(network, options.exclude)
        own = fit_data(network, data)
        judged = fit_data(network, val, options.task)
        if options.finetune is not None:
            from .round_training import RoundTraining  # PyTorch takes seconds to load

            check_installed()
            RoundTraining(network, own.dataset, options.finetune).check()
        return cls(
            data=own.dataset, val=judged.dataset, task=judged.task,
            notes=tuple(dict.fromkeys((*own.notes, *judged.notes))),
        )  # fmt: skip


def _check_folder(network: Network, folder: Path) -> None:
    """Raise if results could not be written to a folder.

    Raises:
        FormatError, UnsupportedError: they could not.
    """
    for name in (STUDY_FILE, STUDY_TABLE, FRONT_TABLE, PLOT_FILE):
        check_free(folder / name)
    best = folder / BEST
    if best.exists() and not (best / BEST_FILE).is_file():
        with located(file=str(best)):
            raise FormatError(
                "is in the way: no study made it", hint="another folder, or move it away"
            )
    check_target(network, best)


def _studied(
    network: Network,
    found: _Found,
    options: StudyOptions,
    folder: Path,
    progress: Progress,
    *,
    restart: bool,
) -> tuple[Study, Mapping[str, Path]]:
    """Make all points, and return what they came to, and where each of the best models is."""
    few = None
    if options.low_data:
        few = FewImages.of(network, found.data, max(options.low_data), progress)
    basis = _basis(network, found, progress)
    before, value = original_of(network, found.val, found.task, progress)
    if restart:
        _forget(folder)
    tune = None
    if options.finetune is not None:
        tune = StudyTuning(network, folder, basis, options)
    groups = find_groups(network)
    bench = Bench(
        network=network, groups=groups, data=found.data, val=found.val, task=found.task,
        options=options, before=before, before_value=value, few=few, size=file_bytes, tune=tune,
    )  # fmt: skip
    with StudyRun.opened(bench, folder, basis, restart=restart) as run:
        run.make(progress)
        latency, rows = run.timed(progress)
        models = run.models()
    cost = measure_cost(network, groups)
    came_to = Study(
        model=network.name,
        model_digest=digest(network),
        data=found.data.name,
        samples=found.data.samples,
        validation=found.val.name,
        validation_samples=found.val.samples,
        metric=found.task.metric,
        unit=found.task.unit,
        higher_is_better=found.task.higher_is_better,
        original_value=value,
        operations=cost.operations,
        parameters=cost.parameters,
        size=stored_bytes(network) or file_bytes(network),
        latency=latency,
        options=options.plain(),
        rows=rows,
        notes=found.notes,
    )
    return came_to, models


def _basis(network: Network, found: _Found, progress: Progress) -> str:
    """Return a text of what all points depend on."""
    data, val = (fingerprint_of(network, one, progress) for one in (found.data, found.val))
    others = "".join(f" {digest(companion)}" for companion in network.companions)
    return f"{VERSION} {digest(network)}{others} {data} {val} {found.task.metric}"


def _forget(folder: Path) -> None:
    """Take away what an earlier study left.

    Raises:
        FormatError: it cannot be taken away.
    """
    with located(file=str(folder)):
        try:
            for name in (STUDY_FILE, STUDY_TABLE, FRONT_TABLE, PLOT_FILE):
                (folder / name).unlink(missing_ok=True)
            for place in (folder / BEST, folder / MODELS, *folder.glob(f"{TUNING}*")):
                if place.is_dir():
                    shutil.rmtree(place)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error


def _write_results(folder: Path, found: Study, models: Mapping[str, Path]) -> tuple[str, ...]:
    """Write the best models, the plot and the tables, and return what users should know.

    Raises:
        FormatError: something cannot be written.
    """
    _write_best(folder, found, models)
    picture = plotted(found)
    notes: tuple[str, ...] = ()
    if picture is not None:
        write_whole(folder / PLOT_FILE, picture.encode(), error=FormatError)
    else:
        with located(file=str(folder / PLOT_FILE)):
            try:
                (folder / PLOT_FILE).unlink(missing_ok=True)  # of an earlier run
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        if found.made:
            notes = (f"{PLOT_FILE} is left out: pip install 'secateur[report]'",)
    write_whole(folder / FRONT_TABLE, found.pareto_csv().encode(), error=FormatError)
    write_whole(folder / STUDY_TABLE, found.to_csv().encode(), error=FormatError)
    write_whole(folder / STUDY_FILE, json_bytes(found.to_data()), error=FormatError)
    return notes


def _write_best(folder: Path, found: Study, models: Mapping[str, Path]) -> None:
    """Put the best models in the place of those of an earlier run.

    Raises:
        FormatError: they cannot be written.
    """
    best = folder / BEST
    with folder_aside(folder, error=FormatError) as aside:
        new = aside / BEST
        new.mkdir()
        for model, place in models.items():
            shutil.copytree(place, aside / model, ignore=shutil.ignore_patterns(STEP_FILE))
        told = {row.model: row.to_data() for row in found.rows if row.model}
        write_whole(new / BEST_FILE, json_bytes(told), error=FormatError)
        if best.exists():
            best.replace(aside / "old")
        new.replace(best)
