"""Fine-tuning a network: by labels, by what another network computes, or by both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Dataset
from ..data.augment.default import usual_augmentation
from ..data.augment.recipe import NO_AUGMENTATION, Augmentation
from ..data.augment.training import TrainingSamples, training_samples
from ..data.base import TargetKind, target_kind
from ..data.part import first_part
from ..engine.placement import devices
from ..engine.threads import within_cores
from ..errors import DataError, UnsupportedError
from ..evaluation.loss import LossMeter
from ..ir.network import Network
from ..options import options_of
from ..progress import Progress, silent
from ..training.criterion import Criterion
from ..training.framework import torch
from ..training.module import TrainingModule
from ..training.recipe import Objective, Recipe
from ..training.solvers.adaptive import Adam
from ..training.solvers.settings import Method
from ..training.solvers.sgd import Momentum
from ..training.team import ALONE, Team, joined
from .balance import BATCHES as PULLED
from .balance import factor_of, per_sample, pulls
from .checkpoint import Checkpoint, Checkpoints
from .course import Course, Feeding
from .duration import check_end, left, more_time, planned, timed
from .judge import Judge, held_out
from .lessons import Lessons
from .loop import train
from .options import BATCH, FinetuneOptions
from .preparation import (
    background_of,
    begun,
    class_count,
    key_of,
    masks_of,
    norm_statistics,
    passings_of,
    rules_of,
    sparsity_of,
    target_of,
    with_zeros,
)
from .result import FinetuneResult, Tell, unheard
from .sizes import Resizing, refusal
from .stages import BOTH, Stage, matched, sparsified, stages_of, task_objectives
from .targets import label_names
from .teacher import TEACHER, Comparisons, Teacher, comparisons

if TYPE_CHECKING:
    pass

__all__ = ["check", "finetune"]

LOOKED_AT = 64
"""Samples that channels of the teacher are told apart by."""

GPUS = frozenset({"cuda", "tensorrt", "nvtensorrtrtx", "rocm", "migraphx"})
"""Providers of ONNX Runtime whose devices have the numbers that PyTorch gives to its own."""


@within_cores()
def finetune(
    network: Network,
    data: Dataset,
    options: FinetuneOptions | None = None,
    *,
    lessons: Lessons | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    tell: Tell = unheard,
    progress: Progress = silent,
    **settings: Any,
) -> FinetuneResult:
    """Train a network further.

    Args:
        network: the network; it stays as it is.
        data: training data for its only input (images N×C×H×W). Labels are used where there are
            any, unless a teacher is given and `distill` is 1.
        options: how it is trained.
        lessons: what it learns from beside the data.
        checkpoints: where the state of the training is kept; None for nowhere.
        resume: go on from the newest checkpoint, if there is one.
        tell: called with every measurement and the network that was measured.
        progress: told how far the work is.
        settings: fields of :class:`FinetuneOptions`, instead of `options`.

    Raises:
        DataError: the data does not fit, or there is nothing to learn from.
        PlanError: the plan does not fit the teacher or the network, or channels cannot leave as
            asked.
        UnsupportedError: PyTorch is not installed, or a layer cannot be trained.
    """
    options = options_of(FinetuneOptions, options, settings)
    with joined() as team:
        first = team.rank == 0
        return _finetune(
            network, data, options, lessons or Lessons(), team,
            checkpoints=checkpoints, resume=resume,
            tell=tell if first else unheard, progress=progress if first else silent,
        )  # fmt: skip


def _finetune(
    network: Network,
    data: Dataset,
    options: FinetuneOptions,
    lessons: Lessons,
    team: Team,
    *,
    checkpoints: Checkpoints | None,
    resume: bool,
    tell: Tell,
    progress: Progress,
) -> FinetuneResult:
    """Train a network further in one of the processes of a team."""
    network = with_zeros(begun(network, options, lessons), network, options, lessons.sparsify)
    lessons = lessons.with_names(network)
    target = target_of(network, lessons)
    torch.manual_seed(options.seed + (team.rank << 32))
    device = _device(options.device, team)
    kind = target_kind(data)
    samples, augmentation = _samples(network, data, kind, options, lessons)
    judged, apart = held_out(samples)
    labels, compared = _objectives(network, kind, samples, options, lessons)
    stages = stages_of(options, labels, compared)
    trained = samples.without(judged.tolist()) if apart else samples
    team.first(lambda: _check_shares(trained.batch, team))
    recipe = lessons.recipe
    module = TrainingModule(
        network, frozen=recipe.frozen,
        statistics=norm_statistics(network, recipe, options, _normed(trained, options, team)),
        passings=passings_of(recipe, stages), channels_last=True,
    ).to(device)  # fmt: skip
    module.mode.summed = team.summed if options.sync_norm and team.size > 1 else None
    resizing, fixed = _resizing(network, samples, lessons)
    feeding = Feeding(
        samples=trained,
        labels=label_names((o for s in stages for o in s.objectives), module.names),
        classes=class_count(network, stages) if kind == "label" else 0,
        teacher=_teacher(lessons, stages, device, options.precision),
        device=device,
        resizing=resizing,
        background=background_of(labels),
        team=team,
    )
    stages, judged_by = _weighed(module, feeding, options, labels, compared, recipe)
    if lessons.sparsify is not None and lessons.sparsify.method:
        stages = sparsified(stages, lessons.sparsify.method, lessons.sparsify.ramp)
    course = replace(
        _course(network, module, feeding, stages, options, lessons),
        sparsity=sparsity_of(module, target, options, lessons),
    )
    judge = Judge(
        Criterion(judged_by),
        [feeding.made(samples.plain(part.tolist())) for part in _parts(judged, samples.batch)],
        _meter(network, lessons, progress),
    )
    kept = checkpoints if resume else None
    state = team.first(lambda: kept.newest(course.key) if kept is not None else None)
    course, told = _as_long(course, module, feeding, judge, options, state)
    outcome = train(
        module, feeding, course, judge,
        checkpoints=checkpoints if team.rank == 0 else None, state=state, tell=tell,
        progress=progress,
    )  # fmt: skip
    notes = [f"training images: {augmentation.source}"] if augmentation.source else []
    notes += [*fixed, *told]
    if not apart:
        notes.append(
            f"only {len(samples.used)} samples: none was held out, so the losses say nothing "
            "about other images"
        )
    if options.time is not None and outcome.steps == sum(course.lengths()):
        notes.append(more_time(course, feeding, outcome))
    notes += [*recipe.notes, *outcome.notes, *trained.problems.values()]
    return FinetuneResult(
        network=module.to("cpu").network(),
        history=outcome.history,
        best=outcome.best,
        metric=judge.metric,
        samples=len(trained.used),
        held_out=len(judged) if apart else 0,
        steps=outcome.steps,
        batch=trained.batch * (recipe.settings.passes if recipe.settings is not None else 1),
        images=outcome.images,
        notes=tuple(notes),
        solver=outcome.solver if _whole(stages, options) else None,
        plan=outcome.plan,
    )


def _as_long(
    course: Course,
    module: TrainingModule,
    feeding: Feeding,
    judge: Judge,
    options: FinetuneOptions,
    state: Checkpoint | None,
) -> tuple[Course, list[str]]:
    """Return the course with its updates, and what to tell of them.

    Raises:
        DataError: the schedule of the files has ended, or ends before.
    """
    told = []
    if state is not None:  # a time that was given is not measured again
        course = replace(course, steps=state.steps, stages=course.stages[-state.stages :])
    elif options.time is None:
        course = planned(course, feeding, options)
    else:
        steps, count, text = feeding.team.first(
            partial(timed, module, feeding, course, judge, options.time)
        )
        course = replace(course, steps=steps, stages=course.stages[-count:])
        told.append(text)
    check_end(course)
    return course, told


def _whole(stages: Sequence[Stage], options: FinetuneOptions) -> bool:
    """Whether the solver trains all that the files let it, from the first update to the last."""
    return len(stages) == 1 and not stages[0].vectors and not options.freeze


def check(network: Network, data: Dataset, options: FinetuneOptions, lessons: Lessons) -> None:
    """Look, before long work, whether networks made of this one can be trained so.

    Raises:
        DataError, PlanError, UnsupportedError: as for :func:`finetune`.
    """
    _device(options.device)
    with_zeros(network, network, options, lessons.sparsify)
    kind = target_kind(data)
    samples, _ = _samples(network, first_part(data, LOOKED_AT), kind, options, lessons)
    stages = stages_of(options, *_objectives(network, kind, samples, options, lessons))
    recipe = lessons.recipe
    module = TrainingModule(
        network, statistics=norm_statistics(network, recipe, options, samples.batch),
        frozen=recipe.frozen, passings=passings_of(recipe, stages),
    )  # fmt: skip
    rules_of(network, module, options, recipe)


def _check_shares(batch: int, team: Team) -> None:
    """Raise if the processes of a team would get different parts of a batch.

    Raises:
        DataError: that is so.
    """
    if batch % team.size:
        raise DataError(
            f"a batch of {batch} samples cannot be shared evenly by {team.size} processes",
            hint=f"--batch-size {-(-batch // team.size) * team.size}, or as many processes as "
            "divide it",
        )


def _normed(samples: TrainingSamples, options: FinetuneOptions, team: Team) -> int:
    """Return over how many samples batch normalisations would take statistics."""
    return samples.batch if options.sync_norm else samples.batch // team.size


def _automatic(team: Team) -> str:
    """Return where to train where nobody says: on the GPU that networks run on, or another."""
    if not torch.cuda.is_available():
        return "cpu"
    used = [place.number for place in devices().places if place.name in GPUS]
    number = used[0] if used and team.size == 1 else None
    return f"cuda:{number}" if number and number < torch.cuda.device_count() else "cuda"


def _device(name: str, team: Team = ALONE) -> str:
    """Return where to train; with several processes, each has a device of its own.

    Raises:
        UnsupportedError: PyTorch does not see such a device.
    """
    if name == "auto":
        name = _automatic(team)
    if name == "cuda" and team.size > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', team.rank)}"
    if name == "cpu":
        return name
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UnsupportedError(
            f"PyTorch cannot use the device '{name}'", hint="--device cpu"
        ) from error
    return name


def _samples(
    network: Network, data: Dataset, kind: TargetKind, options: FinetuneOptions, lessons: Lessons
) -> tuple[TrainingSamples, Augmentation]:
    """Return the training samples, and what is done to them."""
    settings = lessons.recipe.settings
    images = settings.images // settings.passes if settings is not None else 0
    batch = options.batch_size or images or BATCH
    samples = training_samples(data, network, batch=batch, seed=options.seed)
    augmentation = NO_AUGMENTATION
    if options.augment != "none":
        stated = lessons.augmentation if options.augment == "auto" else None
        augmentation = stated or usual_augmentation(samples.size, kind)
        samples = training_samples(
            data, network, batch=batch, seed=options.seed, augmentation=augmentation
        )
    return replace(samples, batch=min(batch, len(samples.used))), augmentation


def _resizing(
    network: Network, samples: TrainingSamples, lessons: Lessons
) -> tuple[Resizing | None, list[str]]:
    """Return the sizes of the input that training takes, and what a user must know of them."""
    sizes = samples.augmentation.sizes
    if sizes is None or lessons.resize is None:
        return None, []
    own = samples.size[1], samples.size[2]
    networks = (network,) if lessons.teacher is None else (network, lessons.teacher)
    if why := refusal(sizes, own, lessons.resize, networks):
        return None, [f"the size of the input stays, though the files say random: {why}"]
    settings = lessons.recipe.settings
    until = (
        left(settings, lessons.seen, lessons.state)
        if settings is not None and settings.updates
        else None
    )
    return Resizing(
        sizes=sizes, own=own, make=lessons.resize, seed=samples.seed, left=until,
        passes=settings.passes if settings is not None else 1,
    ), []  # fmt: skip


def _objectives(
    network: Network,
    kind: TargetKind,
    samples: TrainingSamples,
    options: FinetuneOptions,
    lessons: Lessons,
) -> tuple[Sequence[Objective], Comparisons | None]:
    """Return the losses of labels, and what is compared with the teacher; None without one.

    Raises:
        DataError: a share of a teacher is asked for, and there is none.
    """
    compared: Comparisons | None = None
    share = _share(options)
    if lessons.teacher is not None and (not kind or share):
        looked = samples.plain(samples.used[:LOOKED_AT].tolist())
        compared = comparisons(
            network, lessons.teacher, [looked],
            plan=lessons.plan, whole=lessons.whole, temperature=options.temperature,
            layers=options.match == "layers",
        )  # fmt: skip
    elif options.distill:
        raise DataError("there is no teacher to learn from", option="distill")
    labels: Sequence[Objective] = ()
    if kind and not (compared is not None and share == 1):
        labels = lessons.recipe.objectives or task_objectives(network, kind)
    return labels, compared


def _share(options: FinetuneOptions) -> float:
    return options.distill if options.distill is not None else BOTH


def _teacher(
    lessons: Lessons, stages: Sequence[Stage], device: str, precision: str
) -> Teacher | None:
    """Return the teacher with the values that are compared; None where nothing is."""
    wanted = [
        name.removeprefix(TEACHER)
        for stage in stages
        for objective in stage.objectives
        for name in objective.reads
        if name.startswith(TEACHER)
    ]
    if lessons.teacher is None or not wanted:
        return None
    resize = lessons.resize_teacher or lessons.resize
    return Teacher(lessons.teacher, wanted, device, resize, precision)


def _weighed(
    module: TrainingModule,
    feeding: Feeding,
    options: FinetuneOptions,
    labels: Sequence[Objective],
    compared: Comparisons | None,
    recipe: Recipe,
) -> tuple[tuple[Stage, ...], tuple[Objective, ...]]:
    """Return the stages, and the losses that networks are judged by.

    The solver of the files divides sums by itself; everywhere else a loss is a mean over samples.
    """
    means = per_sample(labels)
    trained = labels if recipe.settings is not None else means
    if not labels or compared is None:
        judged = stages_of(options, means, compared)
        return stages_of(options, trained, compared), judged[-1].objectives
    batches = list(feeding.batches(0, PULLED))
    sides = (trained, means, matched(options, compared))
    *mine, theirs = feeding.team.first(lambda: pulls(module, sides, batches))
    stages, judged = (
        stages_of(options, side, compared.times(factor_of(length, theirs)))
        for side, length in zip((trained, means), mine, strict=True)
    )
    return stages, judged[-1].objectives


def _course(
    network: Network,
    module: TrainingModule,
    feeding: Feeding,
    stages: tuple[Stage, ...],
    options: FinetuneOptions,
    lessons: Lessons,
) -> Course:
    """Return how the network is trained."""
    recipe = lessons.recipe
    rules = rules_of(network, module, options, recipe)
    method: Method = Adam(first=0.9)
    if options.method == "sgd":
        method = Momentum(momentum=options.momentum)
    return Course(
        stages=stages,
        steps=1,
        rules=rules,
        method=method,
        settings=recipe.settings,
        seen=lessons.seen,
        state=lessons.state,
        keep_solver=lessons.keep_solver,
        learning_rate=options.learning_rate,
        decay=options.weight_decay,
        measurements=options.measurements,
        patience=options.patience,
        checkpoint=options.checkpoint,
        precision=options.precision,
        masks=masks_of(network, module, options, lessons),
        key=key_of(network, feeding, options, lessons),
    )


def _meter(network: Network, lessons: Lessons, progress: Progress) -> LossMeter | None:
    """Return what measures on the validation data; None without any."""
    if lessons.validation is None:
        return None
    original = lessons.teacher or network
    return LossMeter.of(original, lessons.validation, lessons.task, progress=progress)


def _parts(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]
