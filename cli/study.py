"""`secateur study`: methods compared by the models they make; killed at any moment, it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, LoadOptions, StudyOptions

from . import reporting, words
from .cluster import Cluster, computing_on
from .common import AsJson, Companion, File
from .device import runs_networks
from .flags import Fields, Panel, with_flags
from .opened import parts, prepared
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from rich.table import Table

    from secateur import Study

    from .terminal import Terminal


@with_flags
@runs_networks
def command(
    *files: File,
    data: Annotated[
        Path,
        Parameter(
            help="Images or .npz, for calibration and training. --low-data needs labels.",
            group=Panel.DATA,
        ),
    ],
    val: Annotated[
        Path | None,
        Parameter(
            help="Data that models are measured on: by labels, or else against the original. "
            "Without it: the valid= of a .data file, or --data.",
            group=Panel.DATA,
        ),
    ] = None,
    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"),
            help="Folder for tables, plot and best models, and for finished points.",
        ),
    ] = Path("study"),
    options: StudyOptions,
    restart: Annotated[
        bool, Parameter(help="Forget the finished points of an earlier run.")
    ] = False,
    report: reporting.Report = None,
    companion: Companion = None,
    cluster: Cluster = None,
    reading: DataOptions,
    model: Annotated[LoadOptions, Fields(without=("reset_seen",))],
    as_json: AsJson = False,
    screen: ScreenOptions,
) -> int:
    """Compare methods of pruning by many models, measured alike, and keep the best of them."""
    import secateur

    terminal = screen.terminal()
    reporting.check(report)
    network = secateur.load(*files, companions=companion or (), options=model)
    terminal.notes(network.notes)
    network, reading = prepared(terminal, network, data, reading, task=options.task)
    found = parts(terminal, network, data, val, reading, options.task)
    with computing_on(cluster), terminal.bars() as progress:
        came_to = secateur.study(
            network,
            found.calibration.dataset,
            found.measured.dataset,
            options,
            output=output,
            restart=restart,
            progress=progress,
        )
    if as_json:
        print_json(came_to.to_data())
    else:
        _print(terminal, came_to)
    said = {*found.calibration.notes, *found.measured.notes}
    terminal.tell(tuple(note for note in came_to.notes if note not in said))
    for reason, count in came_to.failures().items():
        terminal.warn(f"{count} of {len(came_to.rows)} models could not be made: {reason}")
    if came_to.made:
        terminal.note(
            "the best models were chosen by the samples that they are measured on: on others, "
            "their figures will be a little lower"
        )
    names = (secateur.STUDY_FILE, secateur.STUDY_TABLE, secateur.FRONT_TABLE, secateur.PLOT_FILE)
    written = tuple(output / name for name in names if (output / name).is_file())
    for path in written:
        terminal.note(f"wrote {path}")
    for row in came_to.pareto():
        terminal.note(f"wrote {output / row.model}")
    if report is not None:
        facts = secateur.ReportFacts(
            network=network, study=came_to, task=found.measured.task,
            samples=came_to.validation_samples, data=came_to.validation,
            command=reporting.command_line(), files=written, notes=came_to.notes,
        )  # fmt: skip
        reporting.write(terminal, report, facts)
    return 0 if came_to.made else 3


def _print(terminal: Terminal, found: Study) -> None:
    """Print the means of all families, and the best models."""
    figure = ""
    if found.original_value is not None:
        figure = f" {found.figure(found.original_value)}"
    terminal.out.print(
        f"{found.metric}{figure} on {found.validation_samples:,} samples of {found.validation}",
        markup=False,
    )
    for table in (_means_table(found), _front_table(found)):
        terminal.out.print(table)


def _means_table(found: Study) -> Table:
    from rich.table import Table

    means = found.means_table()
    table = Table(header_style="bold")
    for place, name in enumerate(means.columns):
        right = place in means.numeric
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in means.rows:
        table.add_row(*row)
    return table


def _front_table(found: Study) -> Table:
    """Return the models that no other one beats, each change or interval below its figure."""
    from rich.table import Table

    def changed(text: str, now: float, before: float) -> str:
        return f"{text}\n{words.percent(now / before - 1)}" if before else text

    table = Table(header_style="bold")
    table.add_column("Rate", justify="right", no_wrap=True)
    table.add_column("Method", overflow="fold")
    for name in ("Operations", "Parameters", "Size", "Latency", found.metric, "Loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.pareto():
        own, between = row.measured, row.latency_interval
        if own is None:
            continue
        latency = "-" if row.latency is None else f"{row.latency:.3g} ms"
        if between is not None:
            latency += f"\n{words.percent(between[0])} to {words.percent(between[1])}"
        table.add_row(
            f"{row.point.rate:g}",
            row.point.text,
            changed(words.count(own.operations), own.operations, found.operations),
            changed(words.count(own.parameters), own.parameters, found.parameters),
            changed(words.size(own.size), own.size, found.size),
            latency,
            f"{found.figure(own.value)}\n{found.between(own.value_interval)}",
            f"{found.figure(own.loss)}\n{found.between(own.loss_interval)}",
        )
    return table
