"""Fine-tuning between files: reading for training, checkpoints in a folder, and what is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.data import Dataset
from ..core.data.arrays import AnyData, as_dataset
from ..core.errors import DataError, FormatError, located
from ..core.evaluation.task import Task
from ..core.files import alone_in, json_bytes, write_whole
from ..core.finetune.checkpoint import Checkpoints
from ..core.finetune.lessons import Lessons
from ..core.finetune.options import FinetuneOptions
from ..core.finetune.result import FinetuneResult, Tell, history_csv, unheard
from ..core.finetune.sparsify import SparsifyOptions
from ..core.ir.network import Network
from ..core.options import options_of
from ..core.plan.plan import Plan
from ..core.progress import Progress, silent
from ..core.training.recipe import Start
from ..core.training.team import joined
from ..formats.files import identify, models
from ..formats.options import LoadOptions
from ..formats.saving import PLAN_NAME, Saved, save
from ..formats.training import begin

__all__ = [
    "FINETUNE_FILE",
    "HISTORY_FILE",
    "Tuned",
    "begin_early",
    "finetune",
    "finetune_files",
    "from_files",
]

FINETUNE_FILE, HISTORY_FILE = "finetune.json", "history.csv"
"""Files beside a fine-tuned model: what training came to, and its measurements."""


SNAPSHOT = re.compile(r"_iter_(\d+)$")
"""How Caffe ends the names of its snapshots: with the number of updates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """A fine-tuned model and its files.

    Args:
        result: what training came to.
        saved: the files.
        state: the state of the user's solver beside them, for the framework; None without one.
    """

    result: FinetuneResult
    saved: Saved
    state: Path | None = None


def finetune(
    network: Network | Start,
    data: AnyData,
    options: FinetuneOptions | None = None,
    *,
    teacher: Network | None = None,
    plan: Plan | None = None,
    validation: AnyData | None = None,
    task: Task | str | None = None,
    sparsify: SparsifyOptions | None = None,
    rewind: Start | None = None,
    tell: Tell = unheard,
    progress: Progress = silent,
    **settings: Any,
) -> FinetuneResult:
    """Train a network further, by labels, by what another network computes, or by both.

    Args:
        network: the network; it stays as it is. Read for training (:func:`begin`), it brings the
            losses, the schedule and the augmentation of its files with it.
        data: training data. Labels are used where there are any.
        options: how the network is trained.
        teacher: a network to learn from, usually that before pruning.
        plan: what was removed from the teacher, so that its channels are known; or, for a sparse
            network, what is held at zero.
        validation: data that the network is measured on; the best measurement is kept. Without it,
            samples that are held out from `data` decide.
        task: what is measured there, if not what its labels call for.
        sparsify: how channels leave during training. They are zero in the trained network, and the
            result's plan names them: :func:`densify` takes them out.
        rewind: the model before pruning at an early moment (:func:`begin`), to go back to: the
            network gets the weights of that moment, and the files' schedule goes on from there.
        tell: called with every measurement and the network that was measured.
        progress: told how far the work is.
        settings: fields of :class:`FinetuneOptions`, instead of `options`.

    Raises:
        DataError: the data does not fit, or there is nothing to learn from.
        PlanError: the plan does not fit, or channels cannot leave as asked.
        UnsupportedError: PyTorch is not installed, or a layer cannot be trained.
    """
    own = network.network if isinstance(network, Start) else network
    data, validation = as_dataset(data, own), as_dataset(validation, own)
    options = options_of(FinetuneOptions, options, settings)
    start = network if isinstance(network, Start) else None
    from ..core.finetune.finetune import finetune as train  # needs PyTorch

    lessons = Lessons(
        teacher=teacher, plan=plan, validation=validation, task=task, sparsify=sparsify,
        **from_files(start, options, rewind),
    )  # fmt: skip
    trained = network if isinstance(network, Network) else network.network
    result = train(trained, data, options, lessons=lessons, tell=tell, progress=progress)
    return _finished(result, start, lessons.seen)


def finetune_files(
    files: Sequence[str | PathLike[str]],
    data: Dataset,
    output: str | PathLike[str],
    options: FinetuneOptions,
    *,
    lessons: Lessons,
    start: Start,
    rewind: Start | None = None,
    resume: bool = False,
    restart: bool = False,
    tell: Tell = unheard,
    progress: Progress = silent,
) -> Tuned:
    """Train a model further, and write it to a folder.

    Checkpoints stand in the folder while training is under way. The written model is verified like
    any other.

    Args:
        files: the model.
        data: training data.
        output: folder.
        options: how it is trained.
        lessons: what it learns from beside the data.
        start: the model as it was read for training.
        rewind: the model before pruning at an early moment (:func:`begin_early`), to go back to.
        resume: go on from the newest checkpoint in the folder, if there is one.
        restart: forget checkpoints that are there.
        tell: called with every measurement and the network that was measured.
        progress: told how far the work is.

    Raises:
        DataError: as for :func:`finetune`; or the folder holds checkpoints and neither `resume` nor
            `restart` is given, or another run is at work in it.
        FormatError: the folder cannot be written.
        VerificationError: the written files do not compute the same.
    """
    from ..core.finetune.finetune import finetune as train  # needs PyTorch

    folder = Path(output)
    with located(file=str(folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    with joined() as team, alone_in(folder) if team.rank == 0 else nullcontext():
        checkpoints = Checkpoints(folder)
        team.first(lambda: _open(checkpoints, resume=resume, restart=restart))
        filled = replace(lessons, **from_files(start, options, rewind))
        result = train(
            start.network, data, options, lessons=filled, checkpoints=checkpoints, resume=resume,
            tell=tell, progress=progress,
        )  # fmt: skip
        result = _finished(result, start, filled.seen)
        saved, state = team.first(lambda: _written(files, result, start, checkpoints, progress))
    return Tuned(result=result, saved=saved, state=state)


def _snapshot(result: FinetuneResult, start: Start, saved: Saved) -> Path | None:
    """Write the state of the solver beside the weights, as its framework names it.

    Raises:
        FormatError: it cannot be written.
    """
    if start.snapshot is None or result.solver is None or not result.solver.history:
        return None
    weights = saved.paths[-1]
    stem = re.sub(r"_iter_\d+$", "", weights.stem)
    path = weights.with_name(f"{stem}_iter_{result.solver.updates}.solverstate")
    write_whole(path, start.snapshot(result.solver, weights.name), error=FormatError)
    return path


def _open(checkpoints: Checkpoints, *, resume: bool, restart: bool) -> None:
    """Look at the checkpoints of a folder before a training begins there.

    Raises:
        DataError: there are some, and nobody says what to do with them.
    """
    checkpoints.tidy()
    if restart:
        checkpoints.clear()
    elif checkpoints.any and not resume:
        with located(file=str(checkpoints.folder)):
            raise DataError(
                "there are checkpoints of an earlier training",
                hint="--resume goes on from them, --restart forgets them",
            )


def _written(
    files: Sequence[str | PathLike[str]],
    result: FinetuneResult,
    start: Start,
    checkpoints: Checkpoints,
    progress: Progress,
) -> tuple[Saved, Path | None]:
    """Write the model and what training came to; the checkpoints have done their work."""
    folder = checkpoints.folder
    saved = save(result.network, folder, data=None, progress=progress)
    content = {"files": [Path(file).name for file in files], **result.to_data()}
    write_whole(folder / FINETUNE_FILE, json_bytes(content), error=FormatError)
    table = history_csv(result.history)
    write_whole(folder / HISTORY_FILE, table.encode(), error=FormatError)
    if result.plan is not None:
        write_whole(folder / PLAN_NAME, result.plan.to_yaml().encode(), error=FormatError)
    state = _snapshot(result, start, saved)
    checkpoints.clear()
    return saved, state


def begin_early(
    early: Sequence[str | PathLike[str]],
    files: Sequence[str | PathLike[str]],
    *,
    solver: str | PathLike[str] | None = None,
    options: LoadOptions | None = None,
) -> Start:
    """Return a model at an early moment, as training goes back to it.

    The moment is the number of images that its weights have seen. Caffe's files do not hold it, but
    Caffe calls its snapshots `…_iter_N`.

    Args:
        early: its files; with its weights alone, the others are those of `files`.
        files: the model that is trained.
        solver: the file with the solver, for formats that have such.
        options: how files are read.

    Raises:
        FormatError: the files are broken, incomplete or do not fit together.
    """
    paths = [Path(file) for file in early]
    if len(paths) == 1 and not paths[0].is_dir():
        (whole,) = models([Path(file) for file in files])
        own = identify(paths[0]) or paths[0].suffix
        paths += [path for suffix, path in whole.items() if suffix != own]
    found = begin(*paths, solver=solver, options=options)
    numbers = [int(named[1]) for path in paths if (named := SNAPSHOT.search(path.stem))]
    if not found.seen and numbers and found.recipe.settings is not None:
        return replace(found, seen=numbers[0] * found.recipe.settings.images)
    return found


def from_files(
    start: Start | None, options: FinetuneOptions, rewind: Start | None = None
) -> dict[str, Any]:
    """Return what lessons take from the files of a model, and of an early one.

    Raises:
        DataError: their own schedule is asked for, and they have none.
    """
    if options.rewind_rate and rewind is None:
        raise DataError(
            "there is no early model to go back to", hint="--rewind FILES", option="rewind_rate"
        )
    early = {} if rewind is None else {"early": rewind.network}
    if start is None:
        return early
    recipe = start.recipe
    if options.own_solver and recipe.settings is None:
        raise DataError(
            "the model's files name no schedule",
            hint="--solver FILE gives that of Caffe",
            option="own_solver",
        )
    if not options.own_solver:
        recipe = replace(recipe, settings=None)
    return {
        "recipe": recipe,
        "augmentation": start.augmentation,
        "seen": start.seen if rewind is None else rewind.seen,
        "resize": start.resize,
        "state": start.state if options.own_solver and rewind is None else None,
        "keep_solver": options.own_solver and start.snapshot is not None,
        **early,
    }


def _finished(result: FinetuneResult, start: Start | None, before: int) -> FinetuneResult:
    """Return the result with a network whose files say how many images were seen.

    Args:
        result: the result.
        start: the model as it was read for training.
        before: images that were seen at the start.
    """
    if start is None:
        return result
    seen = before + result.best.step * result.batch
    return replace(result, network=start.finish(result.network, seen))
