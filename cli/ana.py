"""`secateur ana`: what each group of channels is worth; killed at any moment, it goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .bundles import unbundled
from .cluster import computing_on
from .data import open_data

if TYPE_CHECKING:
    from rich.table import Table

    from ..core.evaluation.task import Task
    from ..core.sensitivity import Analysis

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 20
"""Bars of a curve at most, so that the table fits a terminal; more rates are thinned out."""


@unbundled
def command(
    files: options.Files,
    data: Annotated[
        Path,
        typer.Option(
            help="Images or .npz: accuracy is measured with labels, the outputs' divergence "
            "without.",
            rich_help_panel=options.DATA,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the result and of finished points.")
    ] = Path("ana"),
    rates: Annotated[
        str,
        typer.Option(metavar="FIRST:LAST:STEP|R,R…", help="Shares of channels to remove."),
    ] = "0.1:0.9:0.1",
    criterion: Annotated[
        str, typer.Option(metavar="NAME", help="What says which channels leave first.")
    ] = "l1",
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="LOSS",
            help="Follow each curve only to where it goes over this loss (faster; for prune "
            "--threshold with the same value).",
        ),
    ] = None,
    rising: Annotated[
        bool,
        typer.Option(
            "--rising", help="With --threshold: bisect, as if curves never came down again."
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Leave out the group of a layer (may be repeated)."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget finished points of an earlier run.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Threads to use; all cores if not given.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on the Dask cluster of this scheduler."),
    ] = None,
    reading: options.DataFlags = options.AS_USUAL,
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    as_json: options.AsJson = False,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Measure what the network loses when one group loses a share of its channels."""
    wanted = parsed_rates(rates)
    if rising and threshold is None:
        raise typer.BadParameter("goes with --threshold only", param_hint="--rising")
    import secateur

    from ..core.sensitivity.result import FILE, save_analysis
    from ..core.sensitivity.state import FILE as STATE

    terminal = screen.terminal()
    settings = model.settings()
    network = secateur.load(*files, **settings)
    terminal.notes(network.notes)
    dataset = open_data(data, network, reading)
    assert dataset is not None, "--data is required"
    if restart:
        (output / FILE).unlink(missing_ok=True)  # else a killed run would leave the old result
    task = secateur.find_task(network, dataset)
    with computing_on(cluster), terminal.bars() as progress:
        analysis = secateur.analyze(
            network,
            dataset,
            task=task,
            criterion=criterion,
            rates=wanted,
            threshold=threshold,
            rising=rising,
            exclude=exclude or (),
            state=output / STATE,
            restart=restart,
            progress=progress,
            jobs=jobs,
        )
    save_analysis(analysis, output / FILE)
    if as_json:
        print(json.dumps(analysis.to_data(), indent=1, ensure_ascii=False))  # noqa: T201
    else:
        figure = "" if analysis.original_value is None else f" {task.text(analysis.original_value)}"
        terminal.out.print(
            f"{analysis.metric}{figure} on {analysis.samples:,} samples of {analysis.data}",
            markup=False,
        )
        terminal.out.print(table_of(analysis, task))
    terminal.note(f"wrote {output / FILE}")


def parsed_rates(text: str) -> list[float]:
    """Return the rates of FIRST:LAST:STEP, or of a list with commas.

    Raises:
        typer.BadParameter: the text is neither, or a rate is not over 0 and below 1.
    """
    parts = text.split(":")
    if len(parts) == 1:
        found = list(options.numbers(text, "--rates"))
    elif len(parts) == 3:
        first, last, step = (options.numbers(part, "--rates")[0] for part in parts)
        if not (step > 0 and math.isfinite(step) and 0 < first <= last < 1):
            raise typer.BadParameter(
                f"'{text}' must rise from over 0 to below 1", param_hint="--rates"
            )
        count = min(1000, math.floor((last - first) / step + 1e-9) + 1)
        found = [round(first + k * step, 9) for k in range(count)]
    else:
        raise typer.BadParameter(f"'{text}' is not FIRST:LAST:STEP", param_hint="--rates")
    if not all(0 < rate < 1 for rate in found):
        raise typer.BadParameter("rates must be over 0 and below 1", param_hint="--rates")
    return found


def table_of(analysis: Analysis, task: Task) -> Table:
    """Return the curves as a table; with a threshold, how far each may go."""
    from rich.table import Table

    rates = sorted({point.rate for group in analysis.groups for point in group.points})
    bars = _spread(rates, WIDEST)
    marks = _spread(rates, 3)
    loss = analysis.threshold
    last = [f"at {rate:g}" for rate in marks]
    table = Table(header_style="bold")
    table.add_column("Group", overflow="fold", min_width=8)
    table.add_column("Channels", justify="right", no_wrap=True)
    table.add_column("Loss", no_wrap=True)
    for name in last if loss is None else (f"Within {loss:g}", "Loss there"):
        table.add_column(name, justify="right", no_wrap=True)
    largest = max((_height(p.loss) for g in analysis.groups for p in g.points), default=0.0)
    for group in analysis.groups:
        values = {point.rate: point.loss for point in group.points}
        if loss is None:
            cells = [task.text(values[rate]) if rate in values else "" for rate in marks]
        else:
            point = group.last_within(loss)
            cells = [f"{point.rate:g}", task.text(point.loss)] if point else ["none", ""]
        table.add_row(group.name, str(group.channels), _curve(values, bars, largest), *cells)
    return table


def _spread(rates: list[float], count: int) -> list[float]:
    """Return so many of the rates at most, evenly spread, the first and the last among them."""
    if len(rates) <= count:
        return rates
    return [rates[place * (len(rates) - 1) // (count - 1)] for place in range(count)]


def _height(loss: float) -> float:
    return max(0.0, loss) if math.isfinite(loss) else 0.0


def _curve(values: Mapping[float, float], rates: list[float], largest: float) -> str:
    """Return a bar for each rate: the root of the loss over the root of the largest one of all.

    The root keeps small losses visible, which are those that matter. Unknown points are dots.
    """
    marks = []
    for rate in rates:
        if rate not in values:
            marks.append("·")
        elif not math.isfinite(values[rate]):
            marks.append(BARS[-1])
        else:
            share = math.sqrt(_height(values[rate]) / largest) if largest else 0.0
            marks.append(BARS[min(len(BARS) - 1, int(share * len(BARS)))])
    return "".join(marks)
