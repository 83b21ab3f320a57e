"""The training loop: stages of steps, measured in between, from a checkpoint on if there is one."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import DataError
from ..progress import Progress, detailed, silent
from ..training.criterion import Criterion
from ..training.framework import torch
from ..training.module import TrainingModule
from ..training.precision import Scaling, gradients
from ..training.recipe import Objective, Rule
from ..training.solvers.average import Averages
from ..training.solvers.settings import Settings
from ..training.solvers.solver import Progress as SolverProgress
from ..training.solvers.solver import Solver
from ..training.team import Team
from .checkpoint import Checkpoint, Checkpoints
from .course import Course, Feeding, Outcome
from .duration import averages_told
from .interrupt import SIGNALS, Interruption, heard
from .judge import Judge, Judgement
from .rate import BATCHES, TRIED, borne_rate, found_rate, schedule_of, trial_schedule
from .result import FinetuneEntry, Tell, unheard
from .schedules.registry import Memory
from .sizes import AtSizes, criterion_at
from .stages import Stage
from .weights import arrays_of, hold, load_arrays

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["train"]


class _Agreed(NamedTuple):
    """What all processes know at the end of an update.

    Args:
        loss: the sum of their losses.
        signal: one that came to any of them.
        due: a checkpoint is to be written.
    """

    loss: float
    signal: int | None
    due: bool


class _Run:
    """One training at work: the only place where its state changes."""

    def __init__(
        self,
        module: TrainingModule,
        feeding: Feeding,
        course: Course,
        judge: Judge,
        checkpoints: Checkpoints | None,
        tell: Tell,
        progress: Progress,
    ):
        self.module, self.feeding, self.course, self.judge = module, feeding, course, judge
        self.checkpoints, self.tell, self.progress = checkpoints, tell, progress
        self.team = feeding.team
        resizing, size = feeding.resizing, feeding.samples.size
        self.modules = AtSizes(module, size[1:], resizing.make if resizing else None)
        self.history: list[FinetuneEntry] = []
        self.best: dict[str, np.ndarray] = {}
        self.best_solver = course.state
        self.badness = math.inf
        self.total = 0
        self.losses = (0.0, 0)
        self.before = 0.0  # seconds of earlier runs
        self.started = self.written = time.monotonic()
        self.trained = 0  # samples of this run
        self.notes: list[str] = []
        self.masks = course.masks
        self.memory: Memory | None = None  # where channels leave during training
        self.penalties: Mapping[str, Tensor] = {}
        self.cause = ""  # why training ended early, if its loss became infinite
        self.failed = False
        rule = course.settings.average if course.settings is not None else None
        self.averages = None if rule is None else Averages(module, rule)
        self.scaled = course.precision == "float16"
        self.scaling = Scaling() if self.scaled else Scaling(factor=1.0)

    @property
    def seconds(self) -> float:
        """Seconds of training, those of earlier runs included."""
        return self.before + time.monotonic() - self.started

    def leave(self, step: int, length: int) -> None:
        """Let channels leave after an update, where the schedule says so.

        Args:
            step: updates of the stage so far.
            length: of the stage.
        """
        sparsity = self.course.sparsity
        if sparsity is None or self.memory is None:
            return
        found = sparsity.after(self.memory, self.module.network, step, length)
        if found is not self.memory:
            self.sparsify(found)

    def present(self) -> AbstractContextManager[None]:
        """Leave out the channels that do not take part in the next update."""
        sparsity = self.course.sparsity
        if sparsity is None or self.memory is None:
            return nullcontext()
        present = sparsity.present(self.memory, self.total + 1)
        return nullcontext() if present is None else sparsity.places.dropped(self.module, present)

    def sparsify(self, memory: Memory) -> None:
        """Take over what a schedule of masks says, and put zeros where channels left."""
        assert self.course.sparsity is not None, "only a schedule has a memory"
        if self.memory is None or memory.removed is not self.memory.removed:
            self.masks = self.course.sparsity.places.masks(memory.removed)
        self.memory = memory
        self.penalties = self.course.sparsity.penalties(memory)
        hold(self.module, self.masks)

    def measure(
        self, stage: Stage, rate: float, solver: Solver | None = None, *, counts: bool = True
    ) -> bool:
        """Measure the network; return whether it is the best so far.

        Where weights are averaged, the averages are what is measured.

        Args:
            stage: that is at work.
            rate: learning rate of the last update.
            solver: that made it.
            counts: whether it may be the best; before the last channel has left it may not.
        """
        with nullcontext() if self.averages is None else self.averages.shown():
            if self.averages is not None:
                hold(self.module, self.masks)
            return self._measured(stage, rate, solver, counts=counts)

    def _measured(self, stage: Stage, rate: float, solver: Solver | None, *, counts: bool) -> bool:
        found: Judgement = self.team.first(lambda: self.judge(self.module))
        total, count = self.losses
        better = counts and found.badness < self.badness
        if better:
            self.badness = found.badness
            self.best = arrays_of(self.module)
            if solver is not None and self.course.keep_solver:
                self.best_solver = solver.progress
        entry = FinetuneEntry(
            step=self.total, stage=stage.name, loss=total / count if count else None,
            held_out=found.held_out, value=found.value, rate=rate,
            seconds=round(self.seconds, 3), best=better, removed=self.removed,
        )  # fmt: skip
        self.losses = (0.0, 0)
        self.history.append(entry)
        if self.team.rank == 0:
            self.tell(entry, self.module.network())
        return better

    @property
    def removed(self) -> float | None:
        """The part of the operations that left during training; None where none are to."""
        sparsity = self.course.sparsity
        if sparsity is None or self.memory is None:
            return None
        return round(sparsity.reached(self.memory), 6)

    def finish(
        self, loss: float, interruption: Interruption, statistics: Sequence[Tensor]
    ) -> _Agreed:
        """Sum the gradients of an update over all processes, and agree on what follows.

        Args:
            loss: of this process's batches.
            interruption: whether a signal came to this process.
            statistics: what batch normalisations store; it becomes the mean of all processes.
        """
        due = self.checkpoints is not None and (
            time.monotonic() - self.written >= self.course.checkpoint
        )
        if self.team.size == 1:
            return _Agreed(loss, interruption.signal, due)
        told = [float(interruption.signal == number) for number in SIGNALS]
        small = self.module.tensor(next(iter(self.module.state_dict()))).new_tensor(
            [loss, float(due), *told], dtype=torch.float32
        )
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        with torch.no_grad():
            self.team.sum([*gradients, *statistics, small])
            for tensor in statistics:
                tensor /= self.team.size
        loss, due_there, *heard_there = small.tolist()
        came = [number for number, count in zip(SIGNALS, heard_there, strict=True) if count]
        return _Agreed(loss, came[0] if came else None, bool(due_there))

    def told(self) -> str:
        """Return how the training goes, in a few words."""
        (total, count), last = self.losses, self.history[-1]
        measured = f"held out {last.held_out:.3g}"
        if last.value is not None:
            measured = f"{self.judge.metric} {last.value:.4g}"
        speed = self.trained / max(time.monotonic() - self.started, 1e-9)
        loss = f"loss {total / count:.3g}, " if count else ""
        return f"{loss}{measured}, {speed:.3g} images/s"

    def diverged(self, what: str, rate: float) -> None:
        """Note why training ends early."""
        self.cause = f"{what} at step {self.total + 1} (learning rate {rate:.2g})"
        advice = " or --precision bfloat16" if self.scaled else ""
        self.notes.append(
            f"{self.cause}: training ended with the best network before; a lower "
            f"--learning-rate{advice} helps"
        )

    def unkept(self, error: DataError) -> None:
        """Note once that checkpoints cannot be written."""
        if not self.failed:
            self.notes.append(f"no checkpoint at step {self.total} and perhaps later: {error}")
        self.failed = True

    def restore(self) -> None:
        """Put the best weights back."""
        load_arrays(self.module, self.best)


def train(
    module: TrainingModule,
    feeding: Feeding,
    course: Course,
    judge: Judge,
    *,
    checkpoints: Checkpoints | None = None,
    state: Checkpoint | None = None,
    tell: Tell = unheard,
    progress: Progress = silent,
) -> Outcome:
    """Train a module in place; at the end it holds the best of the measured weights.

    Each stage begins with the best weights of the stages before it, so a stage that made the
    network worse leaves nothing behind.

    Args:
        module: the network.
        feeding: where batches come from.
        course: how it is trained.
        judge: measures it.
        checkpoints: where the state is kept; None for nowhere.
        state: the checkpoint to go on from; None to begin.
        tell: called with every measurement and the network that was measured.
        progress: told how far the work is.

    Raises:
        DataError: data or a checkpoint is broken.
        KeyboardInterrupt: at Ctrl-C, after a checkpoint was written.
        SystemExit: at SIGTERM, likewise.
    """
    run = _Run(module, feeding, course, judge, checkpoints, tell, progress)
    if state is not None:
        _resume(run, state)
    else:
        module.eval()
        if course.sparsity is not None:
            run.sparsify(course.sparsity.begin(module.network()))
        start = replace(course.stages[0], name="start")
        run.measure(start, 0.0, counts=not start.sparsifies)
    with heard() as interruption:
        for number, length in enumerate(course.lengths()):
            if state is not None and number < state.stage:
                continue
            own = state if state is not None and number == state.stage else None
            if not _stage(run, number, length, own, interruption):
                break
    if not run.best:  # the loss became infinite while channels left
        raise DataError(
            f"channels were still to leave: {run.cause}", hint="a lower --learning-rate"
        )
    _ended(run)
    run.restore()
    if course.sparsity is not None and run.memory is not None:
        run.notes.extend(course.sparsity.schedule.notes(run.memory))
    run.notes.extend(averages_told(course, run.total))
    if run.scaling.skipped:
        run.notes.append(
            f"float16: {run.scaling.skipped} of {run.total} updates were left out, since their "
            "gradients were too large for it; a few at the start are usual"
        )
    module.eval()
    best = next(entry for entry in reversed(run.history) if entry.best)
    passed = max(time.monotonic() - run.started, 1e-9)
    return Outcome(
        history=tuple(run.history), best=best, steps=run.total, images=run.trained / passed,
        notes=tuple(run.notes), solver=run.best_solver,
        plan=course.sparsity.plan(run.memory) if course.sparsity and run.memory else None,
    )  # fmt: skip


def _stage(
    run: _Run, number: int, length: int, state: Checkpoint | None, interruption: Interruption
) -> bool:
    """Run a stage, from a checkpoint on if there is one; return whether training goes on."""
    course, module = run.course, run.module
    stage = course.stages[number]
    if state is None and number:
        run.restore()
        if run.averages is not None:
            run.averages.take({})
    rules = _trained(module, course.rules, vectors=stage.vectors)
    names = {rule.name for rule in rules}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)
    criterion = Criterion(stage.objectives)
    rate = state.rate if state is not None else _rate(run, criterion, rules, length)
    solver = _solver(run, stage, rules, rate, length, state)
    passes = solver.settings.passes
    first = state.step if state is not None else 0
    marks = _marks(length, max(1, round(course.measurements * length / sum(course.lengths()))))
    module.train()
    numbers = range(run.total * passes, (run.total + length - first) * passes)
    batches = zip(
        numbers, run.feeding.batches(numbers.start, len(numbers), resized=True), strict=True
    )
    criteria: dict[tuple[int, int], Criterion] = {}
    parts = Criterion(_of_parts(stage.objectives, run.team))
    statistics = _moving(module, run.team)
    for step in range(first, length):
        now, loss = solver.rate, 0.0
        solver.penalties = run.penalties
        for done in range(passes):
            if done:
                solver.step()
            place, batch = next(batches)
            size = run.feeding.size(place)
            if size not in criteria:
                criteria[size] = criterion_at(parts, size)
            with run.present():
                loss += gradients(
                    run.modules.at(size), criteria[size], batch, precision=course.precision,
                    seen=solver.seen, factor=run.scaling.factor,
                )  # fmt: skip
        agreed = run.finish(loss, interruption, statistics)
        run.losses = (run.losses[0] + agreed.loss, run.losses[1] + passes)
        run.trained += run.feeding.samples.batch * passes
        if not math.isfinite(agreed.loss):
            run.diverged(f"the loss became {agreed.loss}", now)
            return False
        if not run.scaled or run.scaling.finite(module):
            solver.step()
        elif run.scaling.lost:
            run.diverged("the gradients became too large for float16", now)
            return False
        else:
            solver.skip()
        hold(module, run.masks)
        run.total += 1
        if run.averages is not None:
            run.averages.after(solver.done)
        if stage.sparsifies:
            run.leave(step + 1, length)
        label = detailed(f"training {stage.name}", run.told())
        run.progress(label, run.total, sum(course.lengths()))
        if step + 1 in marks:
            leaving = stage.sparsifies and step + 1 < length
            run.measure(stage, now, solver, counts=not leaving)
            if _exhausted(run):
                return False
        _keep(run, number, step + 1, rate, solver, agreed, interruption)
    return True


def _of_parts(objectives: Sequence[Objective], team: Team) -> list[Objective]:
    """Return losses of parts of a batch that sum to those of the whole; parts are equal."""
    return [
        one if one.loss.summed and not one.per_sample
        else replace(one, weight=one.weight / team.size)
        for one in objectives
    ]  # fmt: skip


def _moving(module: TrainingModule, team: Team) -> list[Tensor]:
    """Return the statistics that processes of a team must not move apart."""
    if team.size == 1 or module.mode.summed is not None:
        return []
    kept = dict(module.named_parameters())
    return [t for name, t in module.state_dict().items() if name not in kept]


def _rate(run: _Run, criterion: Criterion, rules: Sequence[Rule], length: int) -> float:
    """Return the highest learning rate of a stage of so many updates."""
    course = run.course
    if course.settings is not None:
        return course.settings.schedule.base
    if course.learning_rate is not None:
        return course.learning_rate
    first = run.total * course.passes
    batches = list(run.feeding.batches(first, BATCHES))
    scaling = Scaling(*run.scaling.state)

    def add(trial: TrainingModule, batch: Mapping[str, Tensor]) -> float:
        loss = gradients(trial, criterion, batch, precision=course.precision,
                         factor=scaling.factor)  # fmt: skip
        if run.scaled and not scaling.finite(trial):
            trial.zero_grad()
        return loss

    def step(trial: TrainingModule, number: int) -> float:
        return add(trial, batches[number])

    def after(rate: float) -> float:
        trial = copy.deepcopy(run.module).train()
        settings = Settings(method=course.method, schedule=trial_schedule(rate))
        solver = Solver(trial, rules, settings)
        for batch in run.feeding.batches(first, min(TRIED, length)):
            add(trial, batch)
            solver.step()
            hold(trial, run.masks)
        return run.judge.loss(trial, criterion)

    def found() -> float:
        rate = found_rate(run.module, rules, course.method, step)
        return borne_rate(rate, run.judge.loss(run.module, criterion), after)

    return run.team.first(found)


def _solver(
    run: _Run,
    stage: Stage,
    rules: Sequence[Rule],
    rate: float,
    length: int,
    state: Checkpoint | None,
) -> Solver:
    course = run.course
    schedule = schedule_of(rate, length, level=stage.sparsifies)
    settings = course.settings or Settings(
        method=course.method, schedule=schedule, decay=course.decay
    )
    progress = course.state if not run.total else None
    if state is not None:
        updates, step, history = state.solver
        progress = SolverProgress(updates=updates, step=step, history=history)
    seen = course.seen + run.total * settings.images
    return Solver(run.module, rules, settings, progress=progress, seen=seen)


def _trained(module: TrainingModule, rules: Sequence[Rule], *, vectors: bool) -> tuple[Rule, ...]:
    """Return the rules of what a stage trains."""
    if not vectors:
        return tuple(rules)
    return tuple(rule for rule in rules if module.tensor(rule.name).dim() <= 1)


def _marks(length: int, count: int) -> set[int]:
    """Return the steps of a stage after which the network is measured; the last is one of them."""
    return {max(1, round(length * (k + 1) / count)) for k in range(count)}


def _exhausted(run: _Run) -> bool:
    """Whether the last measurements brought nothing better, and that is enough."""
    patience = run.course.patience
    counted = next((k for k, entry in enumerate(run.history) if entry.best), len(run.history))
    if patience is None or len(run.history) - counted <= patience:
        return False
    if any(entry.best for entry in run.history[-patience:]):
        return False
    run.notes.append(f"training ended early: {patience} measurements brought nothing better")
    return True


def _keep(
    run: _Run, stage: int, step: int, rate: float, solver: Solver, agreed: _Agreed,
    interruption: Interruption,
) -> None:  # fmt: skip
    """Write a checkpoint where it is time or a signal came, and answer the signal."""
    alone = run.team.size == 1
    signal = interruption.signal if alone else agreed.signal
    told = f"training stopped at step {run.total}"
    random = _random(run) if agreed.due or signal is not None else None
    if run.checkpoints is not None and random is not None:
        try:
            run.checkpoints.keep(_state(run, stage, step, rate, solver.progress, random))
            told += "; --resume goes on from there"
        except DataError as error:  # a full disk must not cost what was trained so far
            run.unkept(error)
            told += f"; no checkpoint: {error}"
        run.written = time.monotonic()
    if signal is not None:
        interruption.signal = signal
        interruption.answer(told if run.team.rank == 0 else "")


def _random(run: _Run) -> np.ndarray:
    """Return the states of PyTorch's generators in all processes, one a row."""
    return run.team.gathered(torch.get_rng_state().numpy())


def _ended(run: _Run) -> None:
    """Write a last checkpoint: where the model cannot be written, nothing is trained again."""
    random = _random(run)
    if run.checkpoints is None:
        return
    state = _state(run, len(run.course.stages), 0, 0.0, SolverProgress(), random)
    try:
        run.checkpoints.keep(state)
    except DataError as error:
        run.unkept(error)


def _state(
    run: _Run, stage: int, step: int, rate: float, kept: SolverProgress, random: np.ndarray
) -> Checkpoint:
    """Return the state of a training."""
    return Checkpoint(
        key=run.course.key, steps=run.course.steps, stages=len(run.course.stages),
        stage=stage, step=step,
        total=run.total, rate=rate, losses=run.losses, seconds=run.seconds,
        history=tuple(run.history), notes=tuple(run.notes), now=arrays_of(run.module),
        best=run.best,
        solver=_plain(kept),
        best_solver=_plain(run.best_solver) if run.best_solver is not None else None,
        random=random,
        sparse={} if run.memory is None else run.memory.to_arrays(),
        scaling=run.scaling.state,
        averages={} if run.averages is None else run.averages.arrays,
    )  # fmt: skip


def _plain(kept: SolverProgress) -> tuple[int, int, tuple[np.ndarray, ...]]:
    return kept.updates, kept.step, kept.history


def _resume(run: _Run, state: Checkpoint) -> None:
    """Take over the state of a checkpoint."""
    load_arrays(run.module, state.now)
    run.best = dict(state.best)
    if state.best_solver is not None:
        updates, step, history = state.best_solver
        run.best_solver = SolverProgress(updates=updates, step=step, history=history)
    run.history, run.notes = list(state.history), list(state.notes)
    run.total, run.losses, run.before = state.total, state.losses, state.seconds
    run.scaling = Scaling(*state.scaling)
    if run.averages is not None:
        run.averages.take(state.averages)
    best = next((entry for entry in reversed(run.history) if entry.best), None)
    if best is not None:
        run.badness = run.judge.badness(best.held_out, best.value)
    if state.sparse:
        run.sparsify(Memory.of(state.sparse))
    torch.set_rng_state(torch.from_numpy(state.random[run.team.rank].copy()))
