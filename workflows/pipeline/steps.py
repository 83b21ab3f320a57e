"""The steps of a pipeline: what each depends on, and what it does.

A new step is an entry of :data:`STEPS_BY_NAME`, a field of :class:`.options.Pipeline`, and a name
in :data:`.options.STEPS`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...core.data import Dataset
from ...core.errors import DataError, PlanError
from ...core.evaluation.evaluate import evaluate
from ...core.evaluation.fidelity import Fidelity, fidelity
from ...core.evaluation.fitted import fit_data
from ...core.evaluation.gate import Gate, check_drop
from ...core.evaluation.metrics.metric import Result
from ...core.evaluation.summary import summarize, with_sizes
from ...core.files import swept
from ...core.finetune.lessons import Lessons
from ...core.ir.network import Caution, Network
from ...core.plan.files import load_plan
from ...core.progress import Progress, inside
from ...core.pruning.densify import carried_out, densify
from ...core.pruning.prune import prune
from ...core.pruning.result import PruneResult
from ...core.sensitivity import analyze, load_analysis, save_analysis
from ...core.sensitivity.result import ANALYSIS_FILE
from ...core.sensitivity.state import STATE_FILE
from ...formats.saving import PLAN_NAME, Saved, save
from ...formats.training import begin
from ..datasets import make_images
from ..finetuning import FINETUNE_FILE, finetune_files
from ..round_training import finished
from .cache import Kept
from .inputs import plain_options
from .opened import Opened

__all__ = [
    "MODELS", "STEPS_BY_NAME", "Came", "Made", "Step", "bytes_of", "measured_models", "newest",
    "unmeasured",
]  # fmt: skip

Made = Mapping[str, Kept]
"""The steps before this one, by their names."""

MODELS = ("prune", "finetune", "transform")
"""Steps that make a model, in their order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """What a step came to.

    Args:
        figures: plain values.
        details: what a report tells beside, as plain values.
        files: names of the model's files; empty where it makes no model.
        companions: names of further descriptions.
        plan: name of the plan; None where there is none.
        notes: what users should know.
    """

    figures: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    plan: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step.

    Args:
        version: counts up when the same inputs no longer give the same result.
        resumes: whether it goes on from what a stopped run left in its folder.
        inputs: returns what it depends on, beside the model before the pipeline.
        run: does it, in a folder.
    """

    version: int
    resumes: bool
    inputs: Callable[[Opened, Made], Mapping[str, Any]]
    run: Callable[[Opened, Made, Path, Progress], Came]


def newest(made: Made) -> Kept | None:
    """Return the last model that a step made; None where none did."""
    return next((made[name] for name in reversed(MODELS) if name in made), None)


def _before(opened: Opened, made: Made) -> tuple[Sequence[Path], Sequence[Path], Path | None]:
    """Return files, companions and plan of the model that a step starts from."""
    kept = newest(made)
    if kept is None:
        return opened.paths, [Path(path) for path in opened.pipeline.companions], None
    plan = kept.folder / kept.plan if kept.plan is not None else None
    return kept.paths, [kept.folder / name for name in kept.companions], plan


def _options(opened: Opened, step: str, *roles: str) -> dict[str, Any]:
    """Return the options of a step and its data, as plain values."""
    return {
        "options": plain_options(getattr(opened.pipeline, step)),
        "task": opened.pipeline.task,
        **{role: opened.data_inputs(role) for role in roles},
    }


def _calibration(opened: Opened, progress: Progress) -> Dataset | None:
    """Return the data for calibration; images that take long to make are made now, and told of."""
    data = opened.dataset("calibration")
    if data is not None:
        make_images(data, progress)
    return data


def _ana_inputs(opened: Opened, _: Made) -> Mapping[str, Any]:
    return _options(opened, "ana", "calibration")


def _ana(opened: Opened, _: Made, folder: Path, progress: Progress) -> Came:
    """Measure what groups are worth."""
    data, options = _calibration(opened, progress), opened.pipeline.ana
    assert data is not None, "checked before"
    assert options is not None, "this step is there"
    task = opened.found_task(data)
    analysis = analyze(
        opened.network, data, replace(options, task=task), state=folder / STATE_FILE,
        progress=progress,
    )  # fmt: skip
    save_analysis(analysis, folder / ANALYSIS_FILE)
    (folder / STATE_FILE).unlink()
    figures = {
        "metric": analysis.metric, "unit": task.unit, "original": analysis.original_value,
        "samples": analysis.samples, "groups": len(analysis.groups),
        "points": sum(len(group.points) for group in analysis.groups),
    }  # fmt: skip
    return Came(figures=figures, notes=analysis.notes)


def _prune_inputs(opened: Opened, made: Made) -> Mapping[str, Any]:
    ana = {"ana": made["ana"].digest} if "ana" in made else {}
    return {**_options(opened, "prune", "calibration", "measured"), **ana}


def _prune(opened: Opened, made: Made, folder: Path, progress: Progress) -> Came:
    """Remove channels."""
    options, network = opened.pipeline.prune, opened.network
    assert options is not None, "this step is there"
    data = _calibration(opened, progress)
    measured = opened.dataset("measured", asked=options.max_drop is not None)
    options = replace(options, task=opened.task_for(data))
    if "ana" in made:
        options = replace(options, analysis=load_analysis(made["ana"].folder))
    task = opened.task_for(measured)
    gate = Gate(drop=options.max_drop)
    gate.check(opened.found_task(measured) if measured is not None else None)
    result = prune(network, options, data=data, progress=progress)
    if options.max_drop is not None:
        check_drop(network, result.network, measured, options.max_drop, task=task,
                   progress=inside(progress, "measuring"))  # fmt: skip
    return _written(opened, result, folder, data, measured, progress)


def _written(
    opened: Opened,
    result: PruneResult,
    folder: Path,
    data: Dataset | None,
    measured: Dataset | None,
    progress: Progress,
) -> Came:
    """Measure a pruned network beside the original, and write it."""
    rows = summarize(
        opened.network, result.network, data=measured, task=opened.task_for(measured),
        progress=inside(progress, "measuring"),
    )  # fmt: skip
    saved = save(result, folder, data=data, progress=inside(progress, "writing"))
    rate = result.plan.provenance.get("rate")
    figures = {
        "rate": rate.get("achieved") if isinstance(rate, Mapping) else None,
        "rows": [asdict(row) for row in with_sizes(rows, bytes_of(opened.paths), saved.size)],
        "masked_dense": result.verification.difference,
        "written_dense": saved.difference,
    }
    notes = list(result.notes)
    if measured is None and result.plan.removes:
        notes.append(unmeasured(data))
    return Came(figures=figures, details=result.to_data(), notes=tuple(notes), **_names(saved))


def unmeasured(data: Dataset | None) -> Caution:
    """Return what is to be said of a pruned network that was measured on nothing.

    Args:
        data: what calibrated, which is images that were made up; None for nothing.
    """
    more = "a hundred as calibration data, labelled or not, change that"
    if data is None:
        return Caution(
            "accuracy is unknown, and probably low: there were no images "
            f"({more}; calibration: synthetic makes some up)"
        )
    return Caution(
        f"accuracy is unknown, no real image was seen: {data.samples} {data.name} calibrated "
        f"({more})"
    )


def bytes_of(paths: Sequence[Path]) -> int:
    """Return the bytes of some files."""
    return sum(path.stat().st_size for path in paths)


def _names(saved: Saved) -> dict[str, Any]:
    """Return the names of written files."""
    return {
        "files": tuple(path.name for path in saved.paths),
        "companions": tuple(path.name for path in saved.companions),
        "plan": saved.plan.name if saved.plan is not None else None,
    }


def _finetune_inputs(opened: Opened, made: Made) -> Mapping[str, Any]:
    options = opened.pipeline.finetune
    assert options is not None, "this step is there"
    solver = [] if options.solver is None else [Path(options.solver)]
    return {
        **_options(opened, "finetune", "training", "validation"),
        "start": made["prune"].digest if "prune" in made else None,
        "solver": opened.inputs.of_files(solver, opened.paths[0].parent),
    }


def _finetune(opened: Opened, made: Made, folder: Path, progress: Progress) -> Came:
    """Train what is left."""
    step = opened.pipeline.finetune
    assert step is not None, "this step is there"
    files, companions, plan = _before(opened, made)
    swept(folder)
    if not finished(folder):
        _trained(opened, files, plan, folder, progress)
    for path in companions:
        shutil.copyfile(path, folder / path.name)
    if plan is not None:
        shutil.copyfile(plan, folder / PLAN_NAME)
    validation = opened.dataset("validation")
    unit = opened.found_task(validation).unit if validation is not None else ""
    content = {"unit": unit, **_training_figures(folder / FINETUNE_FILE)}
    return Came(
        figures={name: value for name, value in content.items() if name != "notes"},
        files=tuple(path.name for path in files),
        companions=tuple(path.name for path in companions),
        plan=PLAN_NAME if (folder / PLAN_NAME).is_file() else None,
        notes=tuple(content["notes"]),
    )


def _trained(
    opened: Opened, files: Sequence[Path], plan: Path | None, folder: Path, progress: Progress
) -> None:
    """Train a model into a folder, from the newest checkpoint there on."""
    step, loading = opened.pipeline.finetune, opened.pipeline.loading
    assert step is not None, "this step is there"
    options = step.options if step.solver is None else replace(step.options, own_solver=True)
    start = begin(
        *files, solver=step.solver, all_layers=not options.own_solver, options=loading
    )  # fmt: skip
    network = opened.read(files)
    data, validation = (opened.opened_for(network, role) for role in ("training", "validation"))
    assert data is not None, "checked before"
    data = fit_data(network, data).dataset
    task = None
    if validation is not None:
        fitting = fit_data(network, validation, opened.task_for(validation))
        validation, task = fitting.dataset, opened.found_task(fitting.dataset)
    sparse = bool(step.sparsify.method)
    lessons = Lessons(
        teacher=opened.network if plan is not None or sparse else None,
        plan=load_plan(plan) if plan is not None else None,
        validation=validation,
        task=task,
        sparsify=step.sparsify if sparse else None,
    )
    finetune_files(
        files, data, folder, options, lessons=lessons, start=start, resume=True, progress=progress
    )


def _training_figures(path: Path) -> dict[str, Any]:
    """Return what a training came to, from its file."""
    import json

    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    history = content.pop("history")
    content.pop("files", None)
    return {**content, "start": history[0], "seconds": history[-1]["seconds"]}


def _transform_inputs(opened: Opened, made: Made) -> Mapping[str, Any]:
    kept = newest(made)
    assert kept is not None, "a step before made zeros"
    return {**_options(opened, "transform", "calibration", "measured"), "start": kept.digest}


def _transform(opened: Opened, made: Made, folder: Path, progress: Progress) -> Came:
    """Take the zeros of a sparse model out."""
    options = opened.pipeline.transform
    assert options is not None, "this step is there"
    files, companions, path = _before(opened, made)
    assert path is not None, "a sparse model has a plan"
    network, plan = opened.read(files, companions), load_plan(path)
    if carried_out(network, plan):
        raise PlanError("there is nothing to remove: the model has no zeros")
    data = _calibration(opened, progress)
    dense = densify(network, plan, options, data=data, progress=progress)
    return _written(opened, dense, folder, data, opened.dataset("measured"), progress)


def _valid_inputs(opened: Opened, made: Made) -> Mapping[str, Any]:
    models = {name: made[name].digest for name in measured_models(made)}
    return {**_options(opened, "valid", "test"), "models": models}


def measured_models(made: Sequence[str] | Made) -> tuple[str, ...]:
    """Return the steps whose models are measured: the pruned one, and the last."""
    there = [name for name in MODELS if name in made]
    return tuple(dict.fromkeys([*there[:1], *there[-1:]]))


def _valid(opened: Opened, made: Made, folder: Path, progress: Progress) -> Came:
    """Measure the models."""
    del folder
    networks = {"original": opened.network}
    for name in measured_models(made):
        networks[name] = opened.read(made[name].paths)
    data = opened.dataset("test")
    assert data is not None, "checked before"
    alone = len(networks) == 1
    if opened.found_task(data).needs_original and alone:
        raise DataError(f"{data.name} has no labels to measure by", hint="data: test, with labels")
    models = []
    for name, network in networks.items():
        result = _measured(opened, network, progress)
        models.append({"name": name, **_figures_of(result)} if result is not None else None)
    found = [model for model in models if model is not None]
    unit = opened.found_task(data).unit
    return Came(figures={"data": data.name, "samples": data.samples, "unit": unit, "models": found})


def _measured(opened: Opened, network: Network, progress: Progress) -> Result | Fidelity | None:
    """Return the figures of a model; without labels, how true it is to the original."""
    options = opened.pipeline.valid
    assert options is not None, "this step is there"
    raw = opened.opened_for(network, "test")
    assert raw is not None, "checked before"
    data = fit_data(network, raw, opened.task_for(raw), options).dataset
    if opened.found_task(data).needs_original:
        if network is opened.network:
            return None
        return fidelity(opened.network, network, data, threads=options.threads, progress=progress)
    return evaluate(network, data, replace(options, task=opened.task_for(data)), progress=progress)


def _figures_of(result: Result | Fidelity) -> dict[str, Any]:
    """Return the figures of a measurement by name; what is no number is None."""
    if isinstance(result, Fidelity):
        return {
            "agreement": result.agreement, "divergence": result.divergence,
            "cosine": result.cosine, "error": result.error,
        }  # fmt: skip
    top = getattr(result, "top", None)
    further = {f"top_{k}": result.top_value(k) for k in sorted(top)} if top else {}  # type: ignore[attr-defined]
    for name in ("loss", "map_11", "coco", "coco_50", "coco_75", "accuracy", "mse", "psnr"):
        if isinstance(value := getattr(result, name, None), float):
            further[name] = value if math.isfinite(value) else None
    return {"metric": result.metric, "value": result.value, **further}


STEPS_BY_NAME: Mapping[str, Step] = {
    "ana": Step(version=1, resumes=True, inputs=_ana_inputs, run=_ana),
    "prune": Step(version=1, resumes=False, inputs=_prune_inputs, run=_prune),
    "finetune": Step(version=2, resumes=True, inputs=_finetune_inputs, run=_finetune),
    "transform": Step(version=1, resumes=False, inputs=_transform_inputs, run=_transform),
    "valid": Step(version=1, resumes=False, inputs=_valid_inputs, run=_valid),
}
"""Every step by its name."""
