"""How long a training takes: updates by passes over the data, by a schedule, or by a given time."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DataError
from ..training.criterion import Criterion
from ..training.module import TrainingModule
from ..training.precision import gradients
from ..training.solvers.schedule import Constant
from ..training.solvers.settings import Settings
from ..training.solvers.solver import Progress, Solver
from .course import Course, Feeding, Outcome
from .judge import Judge
from .options import EPOCHS, FinetuneOptions
from .rate import JUDGED, UPDATES
from .result import FinetuneEntry

__all__ = ["averages_told", "check_end", "left", "more_time", "planned", "timed"]

MEASURED = 5
"""Updates whose time tells how many fit into the time that is given."""

WORTH = 40
"""Updates of each stage; where fewer fit into the time, the first stages are left out."""

LAST = 4
"""So many of the last measurements tell whether the loss still falls; one less is enough."""

LEVEL = 0.01
"""A loss that changes by less, as a part of itself, over these measurements is level."""

OVER = 1.5
"""A training that takes so many times the time that was given is told before it begins."""

LARGEST = 90
"""A time of more seconds is told in minutes, one of more minutes in hours."""


def planned(course: Course, feeding: Feeding, options: FinetuneOptions) -> Course:
    """Return a course with its updates, where no time is given.

    Raises:
        DataError: the schedule of the files has ended.
    """
    settings = course.settings
    if options.steps is not None:
        return replace(course, steps=max(1, int(options.steps)))
    if options.epochs is None and settings is not None and settings.updates:
        return replace(course, steps=left(settings, course.seen, course.state))
    passes = settings.passes if settings is not None else 1
    steps = max(1, round((options.epochs or EPOCHS) * feeding.samples.batches / passes))
    return replace(course, steps=steps)


def left(settings: Settings, seen: int, state: Progress | None = None) -> int:
    """Return the updates that a schedule of the files still has.

    Raises:
        DataError: it has ended.
    """
    done = _earlier(settings, seen, state)
    if done >= settings.updates:
        raise DataError(
            f"the schedule of the files ends after {settings.updates} updates, and {done} are done",
            hint="--epochs or --steps says how long; --reset-seen begins it anew",
        )
    return settings.updates - done


def check_end(course: Course) -> None:
    """Look whether the schedule of the files reaches to the end of a training.

    Raises:
        DataError: it ends before, and behind its end the formula gives rates that nobody wants.
    """
    settings = course.settings
    if settings is None or settings.schedule.end is None:
        return
    done, end = _earlier(settings, course.seen, course.state), settings.schedule.end
    if done + course.steps > end:
        raise DataError(
            f"the rate of the files falls to 0 after {end} updates: {done} are done, and "
            f"{course.steps} more do not fit",
            hint="--reset-seen begins anew, fewer --steps end in time, or leave the solver out",
        )


def _earlier(settings: Settings, seen: int, state: Progress | None) -> int:
    """Return the updates that earlier training made."""
    if state is not None:
        return state.updates
    return seen // settings.images if settings.images else 0


def timed(
    module: TrainingModule, feeding: Feeding, course: Course, judge: Judge, seconds: float
) -> tuple[int, int, str]:
    """Return the updates that fit into a time, how many of the last stages, and what to tell.

    What is subtracted from the time: the measurements, and the tests of learning rates. Where few
    updates fit, the first stages are left out; in no case that in which channels leave.

    Args:
        module: the network; it stays as it is.
        feeding: where batches come from.
        course: how it is trained.
        judge: measures it.
        seconds: the time.
    """
    update = _update(module, feeding, course)
    begun = time.monotonic()
    judge(module)
    judging = time.monotonic() - begun
    measuring = judging * (course.measurements + 1)
    leaving = [stage for stage in course.stages if stage.sparsifies]
    for first in range(len(leaving) or len(course.stages)):
        stages = course.stages[first:]
        once = UPDATES * update / course.passes + JUDGED * judging
        tests = 0.0 if course.tested else len(stages) * once
        steps = int((seconds - measuring - tests) / update)
        if steps >= WORTH * len(stages):
            break
    steps = max(1, steps)
    epochs = steps * course.passes / feeding.samples.batches
    told = f"{steps} steps of {update:.2g} s fit into {seconds:g} s: {epochs:.2g} epochs"
    if measuring + tests + steps * update > OVER * seconds:
        found = f", {_span(tests)} to find a learning rate (one that is given spares that)"
        told = (
            f"{seconds:g} s are too short: {_span(measuring)} to measure"
            f"{found if tests else ''}, {update:.2g} s for a step"
        )
    if first:
        named = ", ".join(f"'{stage.name}'" for stage in course.stages[:first])
        told += f"; too few for the stage{'s' * (first > 1)} {named}"
    return steps, len(stages), told


def more_time(course: Course, feeding: Feeding, outcome: Outcome) -> str:
    """Return what a longer time would bring, as far as this training tells.

    Args:
        course: how it was trained.
        feeding: where batches came from.
        outcome: what it came to; all updates of the course were made.
    """
    settings, passes = course.settings, course.passes
    if settings is not None and settings.updates:
        usual = settings.updates - _earlier(settings, course.seen, course.state)
        named = "the schedule of the files"
    else:
        usual = max(1, round(EPOCHS * feeding.samples.batches / passes))
        named = f"the usual {EPOCHS} epochs"
    if usual <= outcome.steps:
        length = f"{named} would not have been longer"
    else:
        length = f"{named} are {usual} steps"
        trained = _last_stage(outcome.history)
        if len(trained) > 1:
            first, last = trained[0], trained[-1]
            each = (last.seconds - first.seconds) / (last.step - first.step)
            length = f"{named} ({usual} steps) would take about {_span(usual * each)}"
    return f"more time: {_course_of_loss(outcome.history)}; {length}"


def _last_stage(history: Sequence[FinetuneEntry]) -> list[FinetuneEntry]:
    """Return the measurements after updates of the last stage."""
    return [entry for entry in history if entry.step and entry.stage == history[-1].stage]


def _course_of_loss(history: Sequence[FinetuneEntry]) -> str:
    """Return whether the loss of the samples held out was still falling at the end."""
    last = _last_stage(history)[-LAST:]
    if len(last) < LAST - 1:
        return "too few measurements of the last stage to tell whether the loss was still falling"
    losses, steps = ([getattr(e, name) for e in last] for name in ("held_out", "step"))
    slope = float(np.polyfit(steps, losses, 1)[0])
    change, mean = slope * (steps[-1] - steps[0]), abs(float(np.mean(losses)))
    over = f"over the last {len(last)} measurements"
    if abs(change) <= LEVEL * mean:
        return f"the held-out loss was level {over}"
    word = "still falling" if change < 0 else "rising"
    return f"the held-out loss was {word} ({100 * abs(change) / mean:.2g} % {over})"


def _span(seconds: float) -> str:
    """Return a time in the unit that people would take."""
    if seconds < LARGEST:
        return f"{seconds:.0f} s"
    if seconds < LARGEST * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def averages_told(course: Course, total: int) -> list[str]:
    """Return what to tell of averages of weights."""
    settings = course.settings
    if settings is None or settings.average is None:
        return []
    rule = settings.average
    first = _earlier(settings, course.seen, course.state) + 1
    last = first + total - 1
    if last < rule.first:
        return [
            f"the files average weights from update {rule.first} on, and this training ended at "
            f"{last}"
        ]
    if first > rule.applied:
        return [f"the files average weights until update {rule.applied}, before this training"]
    then = f"; at {rule.applied} it became the weights" if last >= rule.applied else ""
    return [
        f"from update {max(first, rule.first)} on, a moving average of the weights was measured "
        f"and kept{then}"
    ]


def _update(module: TrainingModule, feeding: Feeding, course: Course) -> float:
    """Return the seconds of an update, from reading images to new weights."""
    criterion = Criterion(course.stages[-1].objectives)
    trial = copy.deepcopy(module).train()
    settings = Settings(method=course.method, schedule=Constant(base=0.0))
    solver = Solver(trial, course.rules, settings)
    for batch in feeding.batches(0, 1):  # this one compiles and fills caches
        gradients(trial, criterion, batch, precision=course.precision)
        solver.step()
    begun = time.monotonic()
    for batch in feeding.batches(0, MEASURED):
        gradients(trial, criterion, batch, precision=course.precision)
        solver.step()
    return (time.monotonic() - begun) / MEASURED * course.passes
