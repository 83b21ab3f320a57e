"""One page over all steps of a pipeline, made of what their folders hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import DataError, FormatError, located
from ...core.evaluation.summary import SummaryRow, summarize, with_sizes
from ...core.evaluation.task import Task
from ...core.finetune.result import FinetuneResult
from ...core.ir.network import Network
from ...core.markup import Table
from ...core.pictures.examples import find_examples
from ...core.plan.files import load_plan
from ...core.plan.plan import Plan
from ...core.progress import Progress
from ...core.pruning.densify import carried_out, densify
from ...core.pruning.result import PruneResult
from ...core.report.facts import Check, ReportFacts, StepFacts
from ...core.report.latency import layer_times
from ...core.report.render import REPORT_FILE, check_report, report_path, save_report
from ...core.sensitivity import load_analysis
from ...core.words import count_text
from ..datasets import class_names, made_cautions
from ..finetuning import FINETUNE_FILE
from .cache import STEP_FILE, Kept, Store
from .inputs import digest_of
from .opened import Opened
from .options import STEPS, Pipeline
from .steps import MODELS, Made, bytes_of, newest, unmeasured

__all__ = ["check_place", "is_current", "write_report"]

HEAD = 2000
"""Bytes of a report that hold its mark."""


def check_place(pipeline: Pipeline, store: Store) -> None:
    """Raise where the report of a pipeline could not stand.

    Raises:
        UnsupportedError: the extra `report` is not installed.
        FormatError: it is no place for an HTML file, or one that a step replaces.
    """
    if pipeline.report is None:
        return
    check_report(pipeline.report)
    file = report_path(pipeline.report).resolve()
    for name in STEPS:
        if file.is_relative_to(store.of(name).resolve()):
            with located(file=str(report_path(pipeline.report))):
                raise FormatError(
                    f"the step {name} replaces its folder, and a report in it",
                    hint=f"{store.folder / REPORT_FILE}", option="report",
                )  # fmt: skip


def is_current(pipeline: Pipeline, made: Made) -> bool:
    """Whether the report is there already, and tells of these steps."""
    assert pipeline.report is not None, "asked before"
    try:
        with report_path(pipeline.report).open("rb") as file:
            return _mark(made).encode() in file.read(HEAD)
    except OSError:
        return False


def _mark(made: Made) -> str:
    """Return a text that no report of other steps has."""
    return digest_of({name: [kept.key, kept.digest] for name, kept in made.items()})


def write_report(opened: Opened, made: Made, texts: Mapping[str, str], progress: Progress) -> Path:
    """Write the report of a pipeline; return the file.

    Samples are run through the first and the last model once more, and layers are timed.

    Args:
        opened: the pipeline.
        made: its steps.
        texts: title → text to do it again by.
        progress: told how far the work is.

    Raises:
        DataError: what a step left is broken, or the data does not fit.
        FormatError: the report or what a step left cannot be read or written.
    """
    own = opened.pipeline
    assert own.report is not None, "asked before"
    model = _Model.of(opened, made, progress)
    task = _task(opened)
    network, after = opened.network, model.dense if model is not None else None
    measured = _measured_on(made)
    data = opened.dataset(measured)
    examples = None
    if data is not None and after is not None:
        source = opened.source(measured)
        assert source is not None, "there is data"
        names = class_names(data, source.options)
        examples = find_examples(network, after, data, names=names, progress=progress)
    facts = ReportFacts(
        network=network,
        compressed=after,
        plan=model.plan if model is not None else None,
        result=_kept_result(made, "prune", model),
        densified=_kept_result(made, "transform", model),
        rows=_rows(opened, made, model, task, progress) if model is not None else (),
        analysis=load_analysis(made["ana"].folder) if "ana" in made else None,
        tuned=_training(opened, made),
        task=task,
        samples=data.samples if data is not None else None,
        data=data.name if data is not None else "",
        examples=examples,
        times=layer_times(network, after, progress=progress),
        steps=[_told(opened, name, kept) for name, kept in made.items()],
        models=_models(made),
        checks=tuple(_written(made)),
        notes=tuple(_notes(opened, model, measured=data is not None)),
        texts=texts,
        mark=_mark(made),
        files=tuple(_files(made)),
    )
    return save_report(facts, own.report)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """The last model of a pipeline.

    Args:
        kept: the step that made it.
        network: as its files have it.
        dense: without its zeros.
        plan: what was removed; None where nothing was.
    """

    kept: Kept
    network: Network
    dense: Network
    plan: Plan | None

    @classmethod
    def of(cls, opened: Opened, made: Made, progress: Progress) -> _Model | None:
        """Return the last model; None where no step made one."""
        kept = newest(made)
        if kept is None:
            return None
        network = opened.read(kept.paths)
        plan = next(
            (
                load_plan(made[name].folder / path)
                for name in reversed(MODELS)
                if name in made and (path := made[name].plan) is not None
            ),
            None,
        )
        dense = network
        if plan is not None and plan.removes and not carried_out(network, plan):
            dense = densify(network, plan, repair="none", progress=progress).network
        return cls(kept=kept, network=network, dense=dense, plan=plan)


def _task(opened: Opened) -> Task | None:
    data = next(filter(None, map(opened.dataset, ("test", "measured", "calibration"))), None)
    return opened.found_task(data) if data is not None else None


def _notes(opened: Opened, model: _Model | None, *, measured: bool) -> Iterator[str]:
    """Yield what is to be known of figures on made images, and of none."""
    for source in opened.pipeline.data.values():
        yield from made_cautions(source.path)
    removes = model is not None and model.plan is not None and bool(model.plan.removes)
    if removes and not measured:
        yield unmeasured(opened.dataset("calibration"))


def _measured_on(made: Made) -> str:
    """Return what the data is for that figures of the report are of."""
    return "test" if "valid" in made else "measured"


def _kept_result(made: Made, step: str, model: _Model | None) -> PruneResult | None:
    """Return what a step that removes channels gave; None where it is not there.

    Raises:
        DataError: its record is broken.
    """
    kept = made.get(step)
    if kept is None or kept.plan is None:
        return None
    assert model is not None, "the step made one"
    sparse = model.dense if model.dense is not model.network else None
    with located(file=str(kept.folder / STEP_FILE)):
        try:
            return PruneResult.from_data(
                kept.details, model.network, load_plan(kept.folder / kept.plan), sparse
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(step) from error


def _training(opened: Opened, made: Made) -> FinetuneResult | None:
    """Return what training came to; None where nothing was trained.

    Raises:
        DataError: its record is broken.
    """
    kept = made.get("finetune")
    if kept is None:
        return None
    file = kept.folder / FINETUNE_FILE
    with located(file=str(file)):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return FinetuneResult.from_data(content, opened.read(kept.paths))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise _broken("finetune") from error


def _broken(step: str) -> DataError:
    return DataError(f"the record of {step} cannot be read", hint=f"--from {step} makes it again")


def _rows(
    opened: Opened, made: Made, model: _Model, task: Task | None, progress: Progress
) -> Sequence[SummaryRow]:
    """Return the figures of the first and the last model.

    What steps measured is taken over. What none did for the last model is measured now.
    """
    stored = [
        SummaryRow(**{**row, "interval": row["interval"] and tuple(row["interval"])})
        for row in model.kept.figures.get("rows", ())
    ]
    judged = _judged(made, task)
    if not stored or model.dense is not model.network:
        data = None if judged else opened.dataset("measured")
        named = opened.task_for(data)
        rows = summarize(opened.network, model.dense, data=data, task=named, progress=progress)
        stored = with_sizes(rows, bytes_of(opened.paths), bytes_of(model.kept.paths))
    if not judged:
        return stored
    place = next(k for k, row in enumerate(stored) if row.item == "Parameters")
    return [*judged, *stored[place:]]


def _judged(made: Made, task: Task | None) -> Sequence[SummaryRow]:
    """Return what `valid` found of the first and the last model; () where it did not run."""
    models = made["valid"].figures["models"] if "valid" in made else []
    if not models or len(made) == 1 or task is None:
        return []
    last = models[-1]
    if "value" in last:
        first, factor = models[0], task.points
        if first["value"] is None or last["value"] is None:
            return []
        return [
            SummaryRow(
                item=last["metric"], original=factor * first["value"],
                compressed=factor * last["value"], unit="%" if task.unit == "%" else "",
                relative=False,
            )
        ]  # fmt: skip
    rows = [
        SummaryRow(item="Output cosine", original=1.0, compressed=last["cosine"], relative=False)
    ]
    if last.get("agreement") is not None:
        agreed = SummaryRow(
            item="Top-1 agreement", original=100.0, compressed=100 * last["agreement"], unit="%",
            relative=False,
        )  # fmt: skip
        rows.insert(0, agreed)
    return rows


def _models(made: Made) -> Table | None:
    """Return the main figure of all models that `valid` measured; None where it did not run."""
    if "valid" not in made:
        return None
    figures = made["valid"].figures
    models: Sequence[Mapping[str, Any]] = figures["models"]
    names = [name for name in models[0] if name not in ("name", "metric")] if models else []
    shown = [
        name
        for name in names
        if any(model.get(name) is not None for model in models)
        and (name == "value" or any(model.get(name) != model.get("value") for model in models))
    ]
    return Table(
        caption=f"The models on {figures['samples']:,} samples of {figures['data']}",
        columns=("Model", *(_head(name, models[0]) for name in shown)),
        rows=[
            (model["name"], *(_figure(figures["unit"], name, model.get(name)) for name in shown))
            for model in models
        ],
        numeric=tuple(range(1, len(shown) + 1)),
    )


SHARES = ("top_", "coco", "map_", "agreement", "accuracy")
"""Beginnings of the names of figures that are shares, whatever the unit of the main one."""


def _head(name: str, model: Mapping[str, Any]) -> str:
    return str(model["metric"]) if name == "value" else name.replace("_", " ").capitalize()


def _figure(unit: str, name: str, value: float | None) -> str:
    if value is None:
        return ""
    share = name.startswith(SHARES) or (name == "value" and unit == "%")
    return f"{100 * value:.2f} %" if share else f"{value:.4g}"


def _written(made: Made) -> Iterator[Check]:
    for name, kept in made.items():
        difference = kept.figures.get("written_dense")
        if difference is not None:
            yield Check(what=f"{name}: written files = network in memory", difference=difference)


def _files(made: Made) -> Iterator[Path]:
    """Yield the files of the last model, its plan, and the analysis."""
    kept = newest(made)
    if kept is not None:
        yield from kept.paths
        yield from (kept.folder / name for name in kept.companions)
        if kept.plan is not None:
            yield kept.folder / kept.plan


def _told(opened: Opened, name: str, kept: Kept) -> StepFacts:
    return StepFacts(
        name=name, came=CAME[name](kept.figures), seconds=kept.seconds,
        asked=dict(_asked(getattr(opened.pipeline, name))),
    )  # fmt: skip


def _of_analysis(figures: Mapping[str, Any]) -> str:
    return (
        f"{figures['points']} points of {figures['groups']} groups, measured by "
        f"{figures['metric']} on {figures['samples']:,} samples"
    )


def _of_removal(figures: Mapping[str, Any]) -> str:
    rows = {row["item"]: row for row in figures["rows"]}
    before, after = (count_text(rows["Operations"][key]) for key in ("original", "compressed"))
    rate = figures["rate"]
    reached = f"rate {rate:.3g} reached: " if rate is not None else ""
    return f"{reached}{before} operations before, {after} after"


def _of_training(figures: Mapping[str, Any]) -> str:
    key = "value" if figures["metric"] else "held_out"
    name = figures["metric"] or "loss held out"
    start, best = (
        _figure(figures["unit"], "value" if key == "value" else "", figures[when][key])
        for when in ("start", "best")
    )
    at = figures["best"]["step"]
    return f"{name} {start} before, {best} at step {at:,} of {figures['steps']:,}"


def _of_figures(figures: Mapping[str, Any]) -> str:
    names = ", ".join(model["name"] for model in figures["models"])
    return f"{figures['samples']:,} samples of {figures['data']}: {names}"


CAME = {
    "ana": _of_analysis, "prune": _of_removal, "finetune": _of_training,
    "transform": _of_removal, "valid": _of_figures,
}  # fmt: skip
"""What each step came to, in words, from its figures."""


def _asked(options: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is asked beside what is usual, by the names of the file's keys."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        usual = field.default
        if usual is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            usual = field.default_factory()
        if value == usual:
            continue
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(value) and not hasattr(value, "recorded"):
            yield from _asked(value, before if name in ("options", "limits") else f"{name}: ")
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                yield f"{before}{name} {key}", _value(entry)
        else:
            yield f"{before}{name}", _value(value)


def _value(value: Any) -> str:
    if hasattr(value, "recorded"):  # a target or an engine: what decides, not all that is known
        known = value.recorded()
        more = (f"{key} {_value(one)}" for key, one in known.items() if key != "name")
        return ", ".join([str(known["name"]), *more])
    if dataclasses.is_dataclass(value):
        return ", ".join(f"{key} {text}" for key, text in _asked(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_value, value))
    return str(value)
