"""`secateur ana`: what each group of channels is worth; killed at any moment, it goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import AnalyzeOptions, DataOptions, LoadOptions

from . import reporting
from .cluster import Cluster, computing_on
from .common import AsJson, Companion, File
from .device import runs_networks
from .flags import Fields, Panel, with_flags
from .opened import fitted, parts, prepared
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from rich.table import Table

    from secateur import Analysis, Task

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 20
"""Bars of a curve at most, so that the table fits a terminal; more rates are thinned out."""


@with_flags
@runs_networks
def command(
    *files: File,
    data: Annotated[
        Path,
        Parameter(
            help="Images or .npz. With labels, the loss is that of accuracy; without, the "
            "divergence of the outputs. Of a .data file: the images of train=.",
            group=Panel.DATA,
        ),
    ],
    val: Annotated[
        Path | None,
        Parameter(
            help="Data that losses are measured on; --data then only orders the channels.",
            group=Panel.DATA,
        ),
    ] = None,
    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"), help="Folder for the result and for finished measurements."
        ),
    ] = Path("ana"),
    options: AnalyzeOptions,
    restart: Annotated[
        bool, Parameter(help="Forget the finished measurements of an earlier run.")
    ] = False,
    report: reporting.Report = None,
    companion: Companion = None,
    cluster: Cluster = None,
    reading: DataOptions,
    model: Annotated[LoadOptions, Fields(without=("reset_seen",))],
    as_json: AsJson = False,
    screen: ScreenOptions,
) -> None:
    """Measure what the network loses when one group loses a share of its channels."""
    import secateur

    terminal = screen.terminal()
    reporting.check(report)
    network = secateur.load(*files, companions=companion or (), options=model)
    terminal.notes(network.notes)
    network, reading = prepared(terminal, network, data, reading, task=options.task)
    calibration = None
    if val is not None:
        found = parts(terminal, network, data, val, reading, options.task, careful=False)
        dataset, calibration = found.measured.dataset, found.calibration.dataset
        task = found.measured.task
    else:
        own = fitted(terminal, network, data, reading, options.task, purpose="calibrate")
        dataset, task = own.dataset, own.task
    secateur.check_free(output / secateur.ANALYSIS_FILE)
    if restart:  # else a killed run would leave the old result
        (output / secateur.ANALYSIS_FILE).unlink(missing_ok=True)
    options = replace(options, task=task)
    with computing_on(cluster), terminal.bars() as progress:
        analysis = secateur.analyze(
            network,
            dataset,
            options,
            calibration=calibration,
            state=output / secateur.STATE_FILE,
            restart=restart,
            progress=progress,
        )
    secateur.save_analysis(analysis, output / secateur.ANALYSIS_FILE)
    if as_json:
        print_json(analysis.to_data())
    else:
        figure = "" if analysis.original_value is None else f" {task.text(analysis.original_value)}"
        terminal.out.print(
            f"{analysis.metric}{figure} on {analysis.samples:,} samples of {analysis.data}",
            markup=False,
        )
        terminal.out.print(table_of(analysis, task))
    terminal.note(f"wrote {output / secateur.ANALYSIS_FILE}")
    if report is not None:
        with terminal.bars() as progress:
            times = reporting.timed(report, network, None, progress)
        facts = secateur.ReportFacts(
            network=network, analysis=analysis, task=task, times=times, samples=analysis.samples,
            data=analysis.data, command=reporting.command_line(),
            files=(output / secateur.ANALYSIS_FILE,),
        )  # fmt: skip
        reporting.write(terminal, report, facts)


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
