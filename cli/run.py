"""`secateur run`: carry out a pipeline file; what is there already of the same inputs stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from . import reporting, words
from .common import AsJson
from .device import teller
from .flags import with_flags
from .output import print_json
from .screen import ScreenOptions
from .spelling import DEVICE
from .usage import UsageError

if TYPE_CHECKING:
    import secateur

    from .terminal import Terminal

FIGURES: Mapping[str, str] = {
    "agreement": "Top-1 agreement", "divergence": "KL divergence (nats)", "cosine": "Cosine",
    "error": "Relative error",
}  # fmt: skip
"""Figures without labels, as people read them."""

SHARES = ("top_", "coco", "map_", "agreement", "accuracy")
"""Beginnings of the keys of figures that are shares, whatever the unit of the main one."""


@with_flags
def command(
    file: Annotated[
        Path, Parameter(name="FILE", help="The pipeline file, or the folder that it stands in.")
    ] = Path("secateur.yaml"),
    /,
    *,
    settings: Annotated[
        list[str] | None,
        Parameter(
            name="--set", metavar="KEY=VALUE",
            help="A value in place of the file's: prune.rate=0.4, finetune=false. May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        Parameter(
            help="Say what would run, how long it would take about, and which rates can be "
            "reached. Nothing is written.",
        ),
    ] = False,
    until: Annotated[
        str | None, Parameter(metavar="STEP", help="The last step to run.")
    ] = None,
    again_from: Annotated[
        str | None,
        Parameter(
            name="--from", metavar="STEP",
            help="Run this step and those after it again, whatever is there.",
        ),
    ] = None,
    restart: Annotated[bool, Parameter(help="Run all steps again, whatever is there.")] = False,
    device: Annotated[
        str | None,
        Parameter(metavar=DEVICE, help="Where networks run, in place of the file's `device`."),
    ] = None,
    report: reporting.Report = None,
    as_json: AsJson = False,
    screen: ScreenOptions,
) -> None:  # fmt: skip
    """Run the steps of a pipeline file whose results are missing or out of date."""
    import secateur

    from .forecast import show_forecast

    terminal = screen.terminal()
    pipeline = secateur.load_pipeline(file, settings=settings or ())
    if report is not None:
        pipeline = dataclasses.replace(pipeline, report=report)
    if device is not None:
        try:
            pipeline = dataclasses.replace(pipeline, device=device)
        except secateur.PlanError as error:
            raise UsageError(error.message, flag="--device", hint=error.hint) from error
    with secateur.using_device(pipeline.device, tell=teller(terminal)):
        pipeline = dataclasses.replace(pipeline, device=None)
        if dry_run:
            found = secateur.forecast_pipeline(
                pipeline, until=until, again_from=again_from, restart=restart
            )
            if as_json:
                print_json(found.to_data())
            else:
                show_forecast(terminal, found)
            return
        run = _run(
            terminal, pipeline, _texts(file), as_json=as_json, until=until, again_from=again_from,
            restart=restart,
        )  # fmt: skip
    if as_json:
        print_json(run.to_data())
        return
    for path in run.model:
        terminal.note(f"the model: {path}")
    if run.report is not None:
        terminal.note(f"the report: {run.report}")


def _run(
    terminal: Terminal,
    pipeline: secateur.Pipeline,
    texts: Mapping[str, str],
    *,
    as_json: bool,
    **wanted: Any,
) -> secateur.PipelineRun:
    """Run the steps that are wanted, and print what each came to."""
    import secateur

    def hear(told: secateur.StepRun | str) -> None:
        if isinstance(told, str):
            terminal.notes((told,))
        else:
            _tell(terminal, told, quiet=as_json)

    absent = [name for name in secateur.STEPS if name not in pipeline.steps]
    absent += [] if pipeline.report is not None else ["report"]
    with terminal.bars("run", ["choosing blocks", *absent]) as progress:
        return secateur.run_pipeline(pipeline, hear=hear, texts=texts, progress=progress, **wanted)


def _texts(file: Path) -> Mapping[str, str]:
    """Return what a report tells to do it again by: the command, and the file as it is."""
    from .pipeline_file import NAME

    found = file / NAME if file.is_dir() else file
    text = found.read_text(encoding="utf-8", errors="replace")
    return {"What was run": reporting.command_line(), str(found): text}


def _tell(terminal: Terminal, step: secateur.StepRun, *, quiet: bool) -> None:
    """Print what a step came to; one line where nothing was to be done."""
    import secateur

    for note in step.notes:
        if isinstance(note, secateur.Caution):
            terminal.warn(f"{step.name}: {note}")
        else:
            terminal.note(f"{step.name}: {note}")
    if not step.ran:
        terminal.note(f"{step.name}: nothing changed, {step.folder} stays as it is")
        return
    terminal.note(f"{step.name}: {words.time(step.seconds)}, {step.folder}")
    if quiet:
        return
    figures = step.figures
    if step.name == "ana":
        terminal.note(_analysis(figures))
    elif step.name == "finetune":
        terminal.note(_training(figures))
    elif step.name == "valid":
        _show_models(terminal, figures)
    else:
        from .summary import show_rows

        show_rows(terminal, [secateur.SummaryRow(**row) for row in figures["rows"]])


def _analysis(figures: Mapping[str, Any]) -> str:
    value = figures["original"]
    original = "" if value is None else f" ({_number(figures['unit'], value)} before)"
    return (
        f"{figures['metric']}{original} on {figures['samples']:,} samples, {figures['groups']} "
        f"groups at {figures['points']} rates in all"
    )


def _training(figures: Mapping[str, Any]) -> str:
    """Return what a training came to."""
    start, best = figures["start"], figures["best"]
    name = figures["metric"] or "loss held out"
    key = "value" if figures["metric"] else "held_out"
    unit = figures["unit"] if figures["metric"] else ""
    before, after = (_number(unit, entry[key]) for entry in (start, best))
    if not best["step"]:
        return f"{name} {before}: training made nothing better, the model is as it was"
    return f"{name} {before} before, {after} at step {best['step']} of {figures['steps']}"


def _number(unit: str, value: float | None) -> str:
    """Return a figure as people read it: shares in percent."""
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if unit == "%" else f"{value:.4g}"


def _show_models(terminal: Terminal, figures: Mapping[str, Any]) -> None:
    """Print a table with a row a figure and a column a model."""
    from rich.table import Table

    models: Sequence[Mapping[str, Any]] = figures["models"]
    table = Table(header_style="bold")
    table.add_column("Item", overflow="fold")
    for model in models:
        table.add_column(model["name"], justify="right", overflow="fold")
    for key in models[0]:
        values = [model[key] for model in models]
        same = key != "value" and values == [model.get("value") for model in models]
        if key in ("name", "metric") or same or all(value is None for value in values):
            continue
        name = models[0].get("metric", key) if key == "value" else FIGURES.get(key, _title(key))
        unit = "%" if key.startswith(SHARES) else figures["unit"] if key == "value" else ""
        table.add_row(name, *(_number(unit, value) for value in values))
    terminal.out.print(table)
    terminal.note(f"{figures['samples']} samples of {figures['data']}")


def _title(key: str) -> str:
    return key.replace("top_", "Top-").replace("_", " ").capitalize()
