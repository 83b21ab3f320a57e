"""Fine-tuning a network: by labels, by what another network computes, or by both."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..coupling import find_groups
from ..coupling.edit import mask
from ..data import Dataset
from ..data.augment.default import usual_augmentation
from ..data.augment.recipe import NO_AUGMENTATION, Augmentation
from ..data.augment.training import TrainingSamples, training_samples
from ..data.base import TargetKind, target_kind
from ..data.part import first_part
from ..engine.threads import within_cores
from ..errors import DataError, PlanError, UnsupportedError
from ..evaluation.loss import LossMeter
from ..evaluation.task import Task
from ..ir.digest import digest
from ..ir.network import Network, blob_refs, shape_of
from ..ir.rebuild import node_key, rebuild
from ..options import options_of
from ..plan.plan import Plan, removed_units
from ..progress import Progress, silent
from ..training.criterion import Criterion
from ..training.framework import torch
from ..training.losses.multibox import MultiBoxLoss
from ..training.module import TrainingModule
from ..training.passing import Passing
from ..training.recipe import Objective, Recipe, Rule, Statistics
from ..training.solvers.adaptive import Adam
from ..training.solvers.settings import Method
from ..training.solvers.sgd import Momentum
from ..training.solvers.solver import Progress as SolverProgress
from ..training.team import ALONE, Team, joined
from .balance import BATCHES as PULLED
from .balance import factor_of, per_sample, pulls
from .checkpoint import Checkpoints
from .duration import left, planned, timed
from .judge import Judge, held_out
from .loop import Course, Feeding, train
from .options import FinetuneOptions
from .result import FinetuneResult, Tell, unheard
from .rewind import reinitialized, rewound
from .schedules import SCHEDULES
from .sizes import Resize, Resizing, refusal
from .sparsify import SparsifyOptions
from .sparsity import Places, Sparsity
from .stages import BOTH, Stage, matched, sparsified, stages_of, task_objectives
from .target import Target
from .targets import SHARES, TRUTH, label_names
from .teacher import TEACHER, Comparisons, Teacher, comparisons

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Lessons", "check", "finetune"]

BATCH = 32
"""Samples an update where nobody says otherwise."""

NORMALIZED_FROM = 16
"""Samples of a batch from which its own statistics are good enough to normalise by."""

LOOKED_AT = 64
"""Samples that channels of the teacher are told apart by."""


NOTHING_SAID = Recipe()


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What a network learns from, beside its training data.

    Args:
        teacher: the network before pruning; None to learn from labels alone.
        plan: what was removed from the teacher, or what is held at zero in a sparse network.
        validation: data that the network is measured on; None for the samples held out alone.
        task: what is measured there, if not what its labels call for.
        recipe: what the network's files say about training.
        augmentation: what they say about training images; None where they say nothing.
        seen: images that earlier training saw; a schedule of the files goes on from there.
        sparsify: how channels leave during training; None where none do.
        early: the network before pruning at an early moment, to go back to; None to go on.
        state: how far the solver of the files came in it; None for a new training.
        keep_solver: whether the state of the solver at the best measurement is of use.
        resize: returns a network of the files' format at another size of its input.
    """

    teacher: Network | None = None
    plan: Plan | None = None
    validation: Dataset | None = None
    task: Task | str | None = None
    recipe: Recipe = NOTHING_SAID
    augmentation: Augmentation | None = None
    seen: int = 0
    sparsify: SparsifyOptions | None = None
    early: Network | None = None
    state: SolverProgress | None = None
    keep_solver: bool = False
    resize: Resize | None = None


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
    network = _begun(network, options, lessons)
    target = _target(network, lessons)
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
        network, statistics=_statistics(network, recipe, options, _normed(trained, options, team)),
        frozen=recipe.frozen, passings=_passings(recipe, stages), channels_last=True,
    ).to(device)  # fmt: skip
    module.mode.summed = team.summed if options.sync_norm and team.size > 1 else None
    resizing, fixed = _resizing(network, samples, lessons)
    feeding = Feeding(
        samples=trained,
        labels=label_names((o for s in stages for o in s.objectives), module.names),
        classes=_classes(network, stages) if kind == "label" else 0,
        teacher=_teacher(lessons, stages, device),
        device=device,
        resizing=resizing,
        background=_background(labels),
        team=team,
    )
    stages, judged_by = _weighed(module, feeding, options, labels, compared, recipe)
    if lessons.sparsify is not None and lessons.sparsify.method:
        stages = sparsified(stages, lessons.sparsify.method, lessons.sparsify.ramp)
    course = _course(network, module, feeding, stages, options, lessons)
    course = replace(course, sparsity=_sparsity(module, target, options, lessons))
    judge = Judge(
        Criterion(judged_by),
        [feeding.made(samples.plain(part.tolist())) for part in _parts(judged, samples.batch)],
        _meter(network, lessons, progress),
    )
    kept = checkpoints if resume else None
    state = team.first(lambda: kept.newest(course.key) if kept is not None else None)
    if state is not None:  # a time that was given is not measured again
        course = replace(course, steps=state.steps, stages=course.stages[-state.stages :])
    elif options.time is None:
        course = planned(course, feeding, options)
    else:
        seconds = options.time
        steps, count, told = team.first(lambda: timed(module, feeding, course, judge, seconds))
        course = replace(course, steps=steps, stages=course.stages[-count:])
        fixed.append(told)
    outcome = train(
        module, feeding, course, judge,
        checkpoints=checkpoints if team.rank == 0 else None, state=state, tell=tell,
        progress=progress,
    )  # fmt: skip
    notes = [f"training images: {augmentation.source}"] if augmentation.source else []
    notes += fixed
    if not apart:
        notes.append(
            f"only {len(samples.used)} samples: none was held out, so the losses say nothing "
            "about other images"
        )
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


def _whole(stages: Sequence[Stage], options: FinetuneOptions) -> bool:
    """Whether the solver trains all that the files let it, from the first update to the last."""
    return len(stages) == 1 and not stages[0].vectors and not options.freeze


def _begun(network: Network, options: FinetuneOptions, lessons: Lessons) -> Network:
    """Return the network with the weights that training begins with.

    Raises:
        DataError: options contradict each other.
        PlanError: the early network does not fit, or the plan.
    """
    early, plan = lessons.early, lessons.plan
    if options.rewind_rate and lessons.recipe.settings is None:
        raise DataError(
            "only the files' schedule has a moment to go back to; any other begins anew",
            hint="--own-solver, or --solver FILE",
            option="rewind_rate",
        )
    if options.reinitialize:
        if early is not None:
            raise DataError(
                "weights are fresh or those of an early model, not both", option="reinitialize"
            )
        sparse = plan if plan is not None and _fits(network, plan) else None
        factors = {rule.factor for rule in lessons.recipe.statistics.values()} - {""}
        return reinitialized(network, options.seed, sparse, factors)
    if early is not None and not options.rewind_rate:
        return rewound(network, early, plan)
    return network


def check(network: Network, data: Dataset, options: FinetuneOptions, lessons: Lessons) -> None:
    """Look, before long work, whether networks made of this one can be trained so.

    Raises:
        DataError, PlanError, UnsupportedError: as for :func:`finetune`.
    """
    _device(options.device)
    kind = target_kind(data)
    samples, _ = _samples(network, first_part(data, LOOKED_AT), kind, options, lessons)
    stages = stages_of(options, *_objectives(network, kind, samples, options, lessons))
    recipe = lessons.recipe
    module = TrainingModule(
        network, statistics=_statistics(network, recipe, options, samples.batch),
        frozen=recipe.frozen, passings=_passings(recipe, stages),
    )  # fmt: skip
    _rules(network, module, options, recipe)


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


def _device(name: str, team: Team = ALONE) -> str:
    """Return where to train; with several processes, each has a device of its own.

    Raises:
        UnsupportedError: PyTorch does not see such a device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
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
            plan=lessons.plan, temperature=options.temperature,
        )  # fmt: skip
    elif options.distill:
        raise DataError("there is no teacher to learn from", option="distill")
    labels: Sequence[Objective] = ()
    if kind and not (compared is not None and share == 1):
        labels = lessons.recipe.objectives or task_objectives(network, kind)
    return labels, compared


def _share(options: FinetuneOptions) -> float:
    return options.distill if options.distill is not None else BOTH


def _teacher(lessons: Lessons, stages: Sequence[Stage], device: str) -> Teacher | None:
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
    return Teacher(lessons.teacher, wanted, device, lessons.resize)


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


def _statistics(
    network: Network, recipe: Recipe, options: FinetuneOptions, batch: int
) -> Mapping[str, Statistics]:
    """Return node key → how each batch normalisation behaves in training."""
    stored = options.normalize == "stored" or (
        options.normalize == "auto" and batch < NORMALIZED_FROM
    )
    found = dict(recipe.statistics)
    if not stored:
        return found
    for node in network.graph:
        if node.op_type == "BatchNormalization":
            key = node_key(node)
            found[key] = replace(found.get(key, Statistics()), frozen=True)
    return found


def _passings(recipe: Recipe, stages: Sequence[Stage]) -> Mapping[str, Passing]:
    """Return how gradients pass: as the files' engine does it for its own losses, else truly."""
    names = {objective.name for objective in recipe.objectives}
    used = any(one.name in names for stage in stages for one in stage.objectives)
    return recipe.passings if used else {}


def _background(labels: Sequence[Objective]) -> int | None:
    """Return the class of nothing of losses that read lists of objects; None for others."""
    losses = (one.loss for one in labels)
    return next((loss.background for loss in losses if isinstance(loss, MultiBoxLoss)), None)


def _classes(network: Network, stages: Sequence[Stage]) -> int:
    """Return how many classes the scores have that labels are compared with; 0 for none."""
    values = network.values()
    for objective in stages[-1].objectives:
        if {SHARES, TRUTH} & set(objective.reads):
            scores = next((values[name] for name in objective.reads if name in values), None)
            if scores is not None and scores.shape is not None:
                return math.prod(size for size in shape_of(scores)[1:] if isinstance(size, int))
    return 0


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
    rules = _rules(network, module, options, recipe)
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
        masks=_masks(network, module, lessons),
        key=_key(network, feeding, options, lessons),
    )


def _rules(
    network: Network, module: TrainingModule, options: FinetuneOptions, recipe: Recipe
) -> tuple[Rule, ...]:
    """Return what the solver does with each parameter.

    Raises:
        PlanError: a layer to freeze is not in the network.
    """
    known = {info.name for info in network.layers}
    for name in options.freeze:
        if name not in known:
            raise PlanError(f"cannot freeze '{name}': the network has no such layer")
    owner = {
        name: network.layers[refs[0].layer].name
        for name, value in network.graph.initializers.items()
        if (refs := blob_refs(value))
    }
    rules = recipe.rules if recipe.settings is not None else tuple(
        Rule(name=name, decay=1.0 if tensor.dim() > 1 else 0.0)
        for name, tensor in module.named_parameters()
        if name not in recipe.frozen
    )  # fmt: skip
    return tuple(rule for rule in rules if owner.get(rule.name) not in options.freeze)


def _masks(network: Network, module: TrainingModule, lessons: Lessons) -> dict[str, Tensor]:
    """Return for a sparse network: parameter → 1 where it may differ from 0.

    A network is sparse where a plan belongs to it itself, and not to its teacher.

    Raises:
        PlanError: the plan fits neither the network nor the teacher.
    """
    plan = lessons.plan
    if plan is None or not _fits(network, plan):
        return {}
    groups = find_groups(network)
    ones = {name: np.ones_like(network.array(name)) for name, _ in module.named_parameters()}
    masked = mask(rebuild(network, tensors=ones), groups, removed_units(plan, groups))
    return {
        name: torch.from_numpy(np.array(masked.array(name))).to(module.tensor(name).device)
        for name in ones
        if not masked.array(name).all()
    }


def _target(network: Network, lessons: Lessons) -> Target | None:
    """Return what is to be removed during training; None where nothing is.

    Raises:
        PlanError: it cannot be, or the plan does not fit.
    """
    if lessons.sparsify is None or not lessons.sparsify.method:
        return None
    SCHEDULES.find(lessons.sparsify.method)
    groups = find_groups(network)
    plan, before = lessons.plan, groups.mask(())
    if plan is not None and _fits(network, plan):
        before = removed_units(plan, groups)
    return Target.of(network, groups, before, lessons.sparsify)


def _sparsity(
    module: TrainingModule, target: Target | None, options: FinetuneOptions, lessons: Lessons
) -> Sparsity | None:
    """Return how channels leave during training; None where none do."""
    if target is None or lessons.sparsify is None:
        return None
    return Sparsity(
        name=lessons.sparsify.method,
        schedule=SCHEDULES[lessons.sparsify.method],
        target=target,
        places=Places.of(module, target.whole),
        every=lessons.sparsify.every,
        seed=options.seed,
    )


def _fits(network: Network, plan: Plan) -> bool:
    """Whether a plan counts the channels of this network, and not of a smaller one."""
    groups = find_groups(network)
    sizes = {group.name: len(group.units) for group in groups.groups}
    return all(sizes.get(entry.name) == entry.channels for entry in plan.groups)


def _meter(network: Network, lessons: Lessons, progress: Progress) -> LossMeter | None:
    """Return what measures on the validation data; None without any."""
    if lessons.validation is None:
        return None
    original = lessons.teacher or network
    return LossMeter.of(original, lessons.validation, lessons.task, progress=progress)


def _parts(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _told(state: SolverProgress | None) -> str:
    """Return a text that is equal for equal states only."""
    if state is None:
        return ""
    content = hashlib.sha256()
    for array in state.history:
        content.update(array.tobytes())
    return f"{state.updates} {state.step} {content.hexdigest()}"


def _key(network: Network, feeding: Feeding, options: FinetuneOptions, lessons: Lessons) -> str:
    """Return a digest of all that the training depends on, the length of a time apart."""
    plain = {
        name: value
        for name, value in options.plain().items()
        if name not in ("checkpoint", "device", "patience")
    }
    samples = feeding.samples
    parts = [
        str(feeding.team.size),
        digest(network),
        digest(lessons.teacher) if lessons.teacher is not None else "",
        lessons.plan.to_yaml() if lessons.plan is not None else "",
        repr(lessons.sparsify),
        samples.source.name,
        str(len(samples.used)),
        repr(samples.augmentation),
        repr(lessons.recipe.settings),
        str(lessons.seen),
        _told(lessons.state),
        lessons.validation.name if lessons.validation is not None else "",
        json.dumps(plain, sort_keys=True),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
