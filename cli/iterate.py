"""`secateur iterate`: prune in rounds, measure each, stop at the gate; killed, it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, IterateOptions, LoadOptions

from . import reporting, words
from .cluster import Cluster, computing_on, tell_idle
from .common import AsJson, Companion, File
from .device import runs_networks
from .flags import Panel, with_flags
from .opened import parts, prepared
from .output import print_json
from .screen import ScreenOptions
from .usage import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from secateur import (
        FittedData,
        Iteration,
        Network,
        Progress,
        ReportFacts,
        Round,
        Task,
    )

    from .terminal import Terminal


@with_flags
@runs_networks
def command(
    *files: File,
    output: Annotated[
        Path, Parameter(name=("--output", "-o"), help="Folder of the rounds (round-01, …).")
    ],
    options: IterateOptions,
    restart: Annotated[bool, Parameter(help="Forget the rounds of an earlier run.")] = False,
    companion: Companion = None,
    finetune_solver: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            help="Caffe: a solver.prototxt, whose schedule fine-tuning follows.",
            group=Panel.TRAINING,
        ),
    ] = None,
    report: reporting.Report = None,
    cluster: Cluster = None,
    as_json: AsJson = False,
    data: Annotated[
        Path,
        Parameter(
            help="Images or .npz, for calibration and training. Labels are used.",
            group=Panel.DATA,
        ),
    ],
    val: Annotated[
        Path | None,
        Parameter(
            help="Data that rounds are measured on: by labels, or else against the original. "
            "Without it: the valid= of a .data file, or --data, of which a tenth is held out from "
            "fine-tuning.",
            group=Panel.DATA,
        ),
    ] = None,
    reading: DataOptions,
    model: LoadOptions,
    screen: ScreenOptions,
) -> int:
    """Prune in rounds with a rising rate, fine-tune, measure each, stop when too much is lost."""
    import secateur

    terminal = screen.terminal()
    if finetune_solver is not None and options.finetune is None:
        raise UsageError("it goes with --finetune", flag="--finetune-solver")
    reporting.check(report)
    network = secateur.load(*files, companions=companion or (), options=model)
    terminal.notes(network.notes)
    network, reading = prepared(terminal, network, data, reading, task=options.task)
    asked = options.max_drop is not None
    found_data = parts(
        terminal, network, data, val, reading, options.task,
        asked=asked, careful=options.finetune is None,
    )  # fmt: skip
    training, judged = found_data.calibration, found_data.measured
    tell_idle(terminal, cluster, options)
    with terminal.bars("iterate", ["choosing blocks"]) as progress:
        with computing_on(cluster):
            found = secateur.iterate(
                network,
                training.dataset,
                output,
                options,
                validation=judged.dataset if found_data.apart else None,
                solver=finetune_solver,
                restart=restart,
                progress=progress,
            )
        facts = None
        if report is not None:
            facts = _facts(network, found, output, judged, report, reading, progress)
    said = {*training.notes, *judged.notes}
    for note in found.notes:
        if note not in said:
            (terminal.warn if isinstance(note, secateur.Caution) else terminal.note)(note)
    task = judged.task
    if as_json:
        print_json(found.to_data())
    else:
        tuned = options.finetune is not None
        terminal.out.print(_tuned_table(found, task) if tuned else _table(found, task))
    _tell(terminal, found, output)
    terminal.note(f"wrote {output / secateur.ROUNDS_FILE}")
    if facts is not None:
        reporting.write(terminal, report, facts)
    return 0 if found.best is not None else 3


def _facts(
    network: Network,
    found: Iteration,
    output: Path,
    judged: FittedData,
    report: Path,
    reading: DataOptions,
    progress: Progress,
) -> ReportFacts:
    """Return what the report tells: all rounds, and the model of the last one that passed."""
    import secateur

    facts = secateur.ReportFacts(
        network=network, iteration=found, task=judged.task,
        data=found.validation or found.data, samples=found.validation_samples or found.samples,
        command=reporting.command_line(), files=(output / secateur.ROUNDS_FILE,),
        notes=tuple(note for note in found.notes if isinstance(note, secateur.Caution)),
    )  # fmt: skip
    if found.best is None:
        return facts
    compressed, plan = secateur.load_round(network, output, found.best)
    examples = reporting.looked_at(report, network, compressed, judged.dataset, reading, progress)
    if examples is not None and judged.dataset.samples != facts.samples:
        examples = replace(examples, paired=None)  # rounds were trained on some of these samples
    times = reporting.timed(report, network, compressed, progress)
    return replace(facts, compressed=compressed, plan=plan, examples=examples, times=times)


def _table(found: Iteration, task: Task) -> Table:
    from rich.table import Table

    table = Table(header_style="bold")
    for name in ("Round", "Rate", "Operations", "Delta", "Parameters", found.metric):
        table.add_column(name, justify="right")
    if found.original_value is not None:
        table.add_column("Loss", justify="right")
    first = found.original_value
    table.add_row(
        "-", "-", words.count(found.operations) + "Op", "-", words.count(found.parameters),
        *([task.text(first, digits=4), "-"] if first is not None else ["-"]),
    )  # fmt: skip
    for entry in found.rounds:
        loss = [f"{entry.loss:+.2f}"] if found.original_value is not None else []
        table.add_row(
            f"{entry.number}" + ("" if entry.passed else " ✗"),
            f"{entry.rate:g}",
            words.count(entry.operations) + "Op",
            words.percent(-entry.achieved),
            words.count(entry.parameters),
            task.text(entry.value, digits=4),
            *loss,
        )
    return table


def _tuned_table(found: Iteration, task: Task) -> Table:
    """Return the table of rounds that were fine-tuned: the metric before and after that."""
    from rich.table import Table

    loss = found.original_value is not None
    table = Table(header_style="bold", caption=found.metric, caption_justify="left")
    for name in ("Round", "Delta", "Op", "Params", "Pruned", "Tuned"):
        table.add_column(name, justify="right")
    if loss:
        table.add_column("Drop", justify="right")
    table.add_column("Time", justify="right")
    first = found.original_value
    original = task.text(first, digits=4) if first is not None else "-"
    table.add_row(
        "-", "-", words.count(found.operations), words.count(found.parameters), original, original,
        *(["-"] if loss else []), "-",
    )  # fmt: skip
    for entry in found.rounds:
        before = entry.pruned_value
        table.add_row(
            f"{entry.number}" + ("" if entry.passed else " ✗"),
            words.percent(-entry.achieved),
            words.count(entry.operations),
            words.count(entry.parameters),
            task.text(before, digits=4) if before is not None else "-",
            task.text(entry.value, digits=4),
            *([f"{entry.loss:+.2f}"] if loss else []),
            words.time(entry.seconds) if entry.seconds is not None else "-",
        )
    return table


def _tell(terminal: Terminal, found: Iteration, output: Path) -> None:
    """Say which round is the last one that may be used, and why there is no other."""

    def place(entry: Round) -> str:
        return str(output / entry.folder)

    for entry in found.rounds:
        for note in entry.notes:
            terminal.warn(f"{place(entry)}: {note}")
    for note in dict.fromkeys(note for entry in found.rounds for note in entry.training_notes):
        own = [entry.folder for entry in found.rounds if note in entry.training_notes]
        everywhere = len(own) == len(found.rounds)
        terminal.note(note if everywhere else f"{', '.join(own)}: {note}")
    last = found.rounds[-1]
    if not last.passed:
        lost = f"{last.loss:.2f} points" if found.original_value is not None else f"{last.loss:.4g}"
        terminal.warn(f"stopped: {place(last)} loses {lost}, more than allowed")
    if found.best is not None:
        terminal.note(f"the last round that passed is {place(found.best)}")
