"""Fine-tuning between files: reading for training, checkpoints in a folder, and what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.data import Dataset
from ..core.errors import DataError, FormatError, located
from ..core.evaluation.task import Task
from ..core.files import alone_in, write_whole
from ..core.finetune.checkpoint import Checkpoints
from ..core.finetune.finetune import Lessons
from ..core.finetune.finetune import finetune as train
from ..core.finetune.options import FinetuneOptions
from ..core.finetune.result import FinetuneResult, Tell, history_csv, unheard
from ..core.ir.network import Network
from ..core.options import options_of
from ..core.plan.plan import Plan
from ..core.progress import Progress, silent
from ..core.training.recipe import Start
from ..core.training.team import joined
from ..formats.saving import Saved, save

__all__ = [
    "FINETUNE_FILE",
    "HISTORY_FILE",
    "Tuned",
    "finetune",
    "finetune_files",
    "from_files",
]

FINETUNE_FILE, HISTORY_FILE = "finetune.json", "history.csv"
"""Files beside a fine-tuned model: what training came to, and its measurements."""


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
    data: Dataset,
    options: FinetuneOptions | None = None,
    *,
    teacher: Network | None = None,
    plan: Plan | None = None,
    validation: Dataset | None = None,
    task: Task | str | None = None,
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
        tell: called with every measurement and the network that was measured.
        progress: told how far the work is.
        settings: fields of :class:`FinetuneOptions`, instead of `options`.

    Raises:
        DataError: the data does not fit, or there is nothing to learn from.
        PlanError: the plan does not fit.
        UnsupportedError: PyTorch is not installed, or a layer cannot be trained.
    """
    options = options_of(FinetuneOptions, options, settings)
    start = network if isinstance(network, Start) else None
    lessons = Lessons(
        teacher=teacher, plan=plan, validation=validation, task=task,
        **from_files(start, options),
    )  # fmt: skip
    trained = network if isinstance(network, Network) else network.network
    result = train(trained, data, options, lessons=lessons, tell=tell, progress=progress)
    return _finished(result, start)


def finetune_files(
    files: Sequence[str | PathLike[str]],
    data: Dataset,
    output: str | PathLike[str],
    options: FinetuneOptions,
    *,
    lessons: Lessons,
    start: Start,
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
    folder = Path(output)
    with located(file=str(folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    with joined() as team, alone_in(folder) if team.rank == 0 else nullcontext():
        checkpoints = Checkpoints(folder)
        team.first(lambda: _open(checkpoints, resume=resume, restart=restart))
        filled = replace(lessons, **from_files(start, options))
        result = train(
            start.network, data, options, lessons=filled, checkpoints=checkpoints, resume=resume,
            tell=tell, progress=progress,
        )  # fmt: skip
        result = _finished(result, start)
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
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / FINETUNE_FILE, text.encode(), error=FormatError)
    table = history_csv(result.history)
    write_whole(folder / HISTORY_FILE, table.encode(), error=FormatError)
    state = _snapshot(result, start, saved)
    checkpoints.clear()
    return saved, state


def from_files(start: Start | None, options: FinetuneOptions) -> dict[str, Any]:
    """Return what lessons take from the files of a model.

    Raises:
        DataError: their own schedule is asked for, and they have none.
    """
    if start is None:
        return {}
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
        "recipe": recipe, "augmentation": start.augmentation, "seen": start.seen,
        "resize": start.resize, "state": start.state if options.own_solver else None,
        "keep_solver": options.own_solver and start.snapshot is not None,
    }  # fmt: skip


def _finished(result: FinetuneResult, start: Start | None) -> FinetuneResult:
    """Return the result with a network whose files say how many images were seen."""
    if start is None:
        return result
    seen = start.seen + result.best.step * result.batch
    return replace(result, network=start.finish(result.network, seen))
