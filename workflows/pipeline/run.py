"""Running a pipeline: each step once, until what it depends on is something else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.coupling import find_groups
from ...core.engine.choosing import using_device
from ...core.errors import FormatError, PlanError, located, nearest_hint
from ...core.files import alone_in, made_folder
from ...core.ir.network import Network
from ...core.options import options_of
from ...core.progress import Progress, inside, silent
from ...core.pruning.demand import Demand
from ...core.pruning.options import AUTOMATIC, PruneOptions
from ...core.report.render import report_path
from ...core.training.framework import check_installed
from ...formats.saving import check_target
from .cache import Kept, Store
from .inputs import DIGESTS, Inputs, digest_of
from .opened import Opened
from .options import STEPS, Pipeline
from .report import check_place, is_current, write_report
from .steps import STEPS_BY_NAME, Made

__all__ = [
    "PipelineRun",
    "StepRun",
    "begun_again",
    "key_of",
    "reach_demand",
    "run_pipeline",
    "steps_until",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRun:
    """A step of a pipeline that ran, or was there already.

    Args:
        name: the step.
        ran: whether it ran; else an earlier run made it of the same inputs.
        folder: with its files.
        files: of the model that it made; empty where it makes none.
        figures: what it came to, as plain values.
        seconds: how long it took when it ran.
        notes: what users should know; those of earlier runs are not kept.
    """

    name: str
    ran: bool
    folder: Path
    files: tuple[Path, ...]
    figures: Mapping[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "step": self.name,
            "ran": self.ran,
            "folder": str(self.folder),
            "files": [str(path) for path in self.files],
            "seconds": self.seconds,
            "figures": dict(self.figures),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineRun:
    """What a pipeline came to.

    Args:
        output: its folder.
        steps: its steps, in order.
        report: the page over all steps; None where none is asked for.
    """

    output: Path
    steps: tuple[StepRun, ...]
    report: Path | None = None

    @property
    def model(self) -> tuple[Path, ...]:
        """The files of the last model that was made; () where none was."""
        return next((step.files for step in reversed(self.steps) if step.files), ())

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "output": str(self.output),
            "model": [str(path) for path in self.model],
            "report": None if self.report is None else str(self.report),
            "steps": [step.to_data() for step in self.steps],
        }


NOTHING: Mapping[str, str] = {}

Hear = Callable[[StepRun | str], None]
"""What is told of each step as it ends, and of files and data: notes, some of them cautions."""


def _unheard(told: StepRun | str) -> None:
    """Listen to nothing."""


def run_pipeline(
    pipeline: Pipeline | None = None,
    *,
    until: str | None = None,
    again_from: str | None = None,
    restart: bool = False,
    texts: Mapping[str, str] = NOTHING,
    hear: Hear = _unheard,
    progress: Progress = silent,
    **settings: Any,
) -> PipelineRun:
    """Run the steps of a pipeline, without those that are there already of the same inputs.

    Each step has a folder in `output`, which appears whole: a run that is killed goes on where it
    was, within an analysis or a training as well. A step runs again where its model, its data, its
    options or what a step before it made is something else than it was.

    Args:
        pipeline: the pipeline.
        until: the last step to run; None for all.
        again_from: run this step and those after it, whatever is there.
        restart: forget all that is there.
        texts: title → text to do it again by, for the report: commands, files.
        hear: called with each step as it ends, and with notes on files and data.
        progress: told how far the work is.
        settings: fields of :class:`Pipeline`, instead of `pipeline`.

    Raises:
        SecateurError: as for the functions that do the same as the steps.
        DataError: another run is at work in the folder.
        FormatError: the folder cannot be written, or holds something else.
        PlanError: there is no such step.
    """
    pipeline = options_of(Pipeline, pipeline, settings)
    with using_device(pipeline.device, tell=hear):
        return _run(
            pipeline, until, again_from, restart=restart, texts=texts, hear=hear, progress=progress
        )


def _run(
    pipeline: Pipeline,
    until: str | None,
    again_from: str | None,
    *,
    restart: bool,
    texts: Mapping[str, str],
    hear: Hear,
    progress: Progress,
) -> PipelineRun:
    """Run the steps of a pipeline on the device in use."""
    wanted = steps_until(pipeline, until)
    forced = begun_again(pipeline, again_from, restart=restart)
    store = Store(Path(pipeline.output))
    _check_places(pipeline, store)
    check_place(pipeline, store)
    with made_folder(store.folder, FormatError), alone_in(store.folder):
        opened = Opened(pipeline, Inputs(store.folder / DIGESTS))
        for name in STEPS:
            store.sweep(name)
            if name in forced:
                store.forget(name)
        made: dict[str, Kept] = {}
        runs = []
        checked = False
        try:
            for name in wanted:
                key = key_of(opened, made, name)
                kept = store.known(name)
                ran = kept is None or kept.key != key
                if ran and not checked:
                    _check(opened, store)
                    for note in opened.told():
                        hear(note)
                    checked = True
                run, made[name] = (
                    (_there(name, kept), kept)
                    if kept is not None and not ran
                    else _step(opened, store, made, name, key, progress)
                )
                runs.append(run)
                hear(run)
            report = _reported(opened, made, texts, progress)
        finally:
            if runs:
                opened.inputs.remember()
    return PipelineRun(output=store.folder, steps=tuple(runs), report=report)


def _reported(
    opened: Opened, made: Made, texts: Mapping[str, str], progress: Progress
) -> Path | None:
    """Write the report where one is asked for and the one that is there tells of other steps."""
    asked = opened.pipeline.report
    if asked is None:
        return None
    if is_current(opened.pipeline, made):
        return report_path(asked)
    return write_report(opened, made, texts, inside(progress, "report"))


def steps_until(pipeline: Pipeline, until: str | None) -> tuple[str, ...]:
    """Return the steps of a pipeline up to one; None for all.

    Raises:
        PlanError: there is no such step.
    """
    if until is None:
        return pipeline.steps
    _check_step(pipeline, until, "until")
    return pipeline.steps[: pipeline.steps.index(until) + 1]


def begun_again(pipeline: Pipeline, step: str | None, *, restart: bool) -> tuple[str, ...]:
    """Return the steps that run whatever is there: one and all after it, or all.

    Raises:
        PlanError: there is no such step.
    """
    if restart:
        return STEPS
    if step is None:
        return ()
    _check_step(pipeline, step, "again_from")
    return STEPS[STEPS.index(step) :]


def _check_step(pipeline: Pipeline, step: str, option: str) -> None:
    if step not in pipeline.steps:
        there = ", ".join(pipeline.steps)
        raise PlanError(
            f"the pipeline has no step '{step}'",
            hint=nearest_hint(step, pipeline.steps, f"it has {there}"), option=option,
        )  # fmt: skip


def key_of(opened: Opened, made: Made, name: str) -> str:
    """Return the digest of all that a step depends on.

    Raises:
        DataError: a file or data cannot be read.
        FormatError, UnsupportedError: the model cannot be read.
    """
    step = STEPS_BY_NAME[name]
    return digest_of(
        {
            "step": name,
            "version": step.version,
            **opened.model_inputs(),
            **step.inputs(opened, made),
        }
    )


def _there(name: str, kept: Kept) -> StepRun:
    return StepRun(
        name=name, ran=False, folder=kept.folder, files=kept.paths, figures=kept.figures,
        seconds=kept.seconds,
    )  # fmt: skip


def _step(
    opened: Opened, store: Store, made: Made, name: str, key: str, progress: Progress
) -> tuple[StepRun, Kept]:
    """Run a step, and give its folder its name."""
    step = STEPS_BY_NAME[name]
    began = time.monotonic()
    work = store.begin(name, key, resumes=step.resumes)
    try:
        came = step.run(opened, made, work, inside(progress, name))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"stopped in {name}; the same command goes on from there") from stop
    kept = store.keep(
        name, key, files=came.files, companions=came.companions, plan=came.plan,
        figures=came.figures, details=came.details, seconds=time.monotonic() - began,
    )  # fmt: skip
    return replace(_there(name, kept), ran=True, notes=came.notes), kept


def _check(opened: Opened, store: Store) -> None:
    """Look before long work whether the steps can be done at all.

    Raises:
        SecateurError: they cannot.
    """
    pipeline, network = opened.pipeline, opened.network
    for role in ("calibration", "training", "validation", "test"):
        opened.dataset(role)
    if pipeline.prune is not None:
        check_target(network, store.of("prune"))
        demand = reach_demand(network, pipeline.prune)
        if demand is not None:
            demand.check()
    if pipeline.finetune is not None:
        check_installed()


def reach_demand(network: Network, options: PruneOptions) -> Demand | None:
    """Return what can be asked of a network, whatever criterion and allocation decide.

    How far it can be pruned follows from groups, costs and limits. Measured curves may set closer
    bounds, which are known only when they are measured. None where a plan says what is removed.

    Raises:
        PlanError: nothing can be removed, or options do not fit the network.
    """
    if options.plan is not None:
        return None
    rates = {
        name: override for name, override in options.overrides.items() if override.rate is not None
    }
    plain = PruneOptions(
        rate=options.rate if options.rate is not None else 0.0, criterion="l1",
        allocation=AUTOMATIC, budget=options.budget, target=options.target,
        latencies=options.latencies,
        exclude=options.exclude, limits=options.limits, overrides=rates,
        as_far_as_possible=options.as_far_as_possible and options.rate is not None,
    )  # fmt: skip
    return Demand.of(network, find_groups(network), plain)


def _check_places(pipeline: Pipeline, store: Store) -> None:
    """Raise if a step would write over something that no pipeline made, or over an input.

    Raises:
        FormatError: names it.
    """
    sources = [source.path for source in pipeline.data.values()]
    inputs = [Path(path).resolve() for path in (*pipeline.model, *pipeline.companions, *sources)]
    for name in STEPS:
        if getattr(pipeline, name) is not None:
            store.check(name)
        folder = store.of(name).resolve()
        for path in inputs:
            if path.is_relative_to(folder):
                with located(file=str(store.of(name))):
                    raise FormatError(
                        f"would overwrite the input {path.name}", hint="another `output:` folder"
                    )
