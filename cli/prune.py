"""`secateur prune`: remove channels, verify, write back, and say what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, LoadOptions, PruneOptions

from . import reporting
from .cluster import Cluster, computing_on, tell_idle
from .common import AsJson, Companion, Data, File, Output, Val
from .device import runs_networks
from .flags import with_flags
from .opened import fitted, parts, prepared, same_samples
from .output import files_as_data, print_json
from .screen import ScreenOptions
from .summary import (
    measure_and_save,
    print_refused,
    print_summary,
    print_training,
    summary_as_data,
    unmeasured,
)

if TYPE_CHECKING:
    from secateur import Dataset, Gate, Network, StandIn, Together

    from .terminal import Terminal


@with_flags
@runs_networks
def command(
    *files: File,
    output: Output,
    options: PruneOptions,
    max_drop: Annotated[
        float | None,
        Parameter(
            metavar="POINTS",
            help="With labels: write nothing if accuracy drops by more percentage points.",
        ),
    ] = None,
    companion: Companion = None,
    emit_training: Annotated[
        Path | None,
        Parameter(
            metavar="FOLDER",
            help="Write also what your own Caffe or Darknet needs to train the pruned model, to "
            "this new folder: the net with its loss, a solver, the weights, the commands.",
        ),
    ] = None,
    solver: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            help="Caffe, with --emit-training: your solver.prototxt, whose settings are kept.",
        ),
    ] = None,
    report: reporting.Report = None,
    cluster: Cluster = None,
    as_json: AsJson = False,
    data: Data = None,
    val: Val = None,
    reading: DataOptions,
    model: LoadOptions,
    screen: ScreenOptions,
) -> None:
    """Remove whole channels until a fraction of the operations is gone."""
    import secateur

    terminal = screen.terminal()
    network = secateur.load(*files, companions=companion or (), options=model)
    terminal.notes(network.notes)
    network, reading = prepared(
        terminal, network, data or val, reading, plan=options.plan, task=options.task
    )
    secateur.check_target(network, output)
    reporting.check(report)
    if emit_training is not None:
        if emit_training.resolve() in (output.resolve(), *output.resolve().parents):
            raise secateur.FormatError(
                "files for training cannot stand in the folder of the model, nor around it",
                hint="give them a folder of their own",
                option="emit_training",
            )
        secateur.check_training(network, emit_training, solver=solver, data=data)
    elif solver is not None:
        raise secateur.FormatError("a solver is used with --emit-training only", option="solver")
    gate = secateur.Gate(drop=max_drop)
    dataset = measured = None
    made = data is None or secateur.is_made(data)
    stand_in = secateur.StandIn()
    if made:
        stand_in = _made(terminal, network, options, data, reading)
        dataset = stand_in.dataset
        measured = _measured(terminal, network, val, reading, options, gate)
    elif data is not None:
        asked = max_drop is not None
        found = parts(terminal, network, data, val, reading, options.task, asked=asked)
        dataset, measured = found.calibration.dataset, found.measured.dataset
        gate.check(found.measured.task)
    together = secateur.losses_together(network, options, data=dataset)
    if together is not None:
        terminal.note(together.text)
    absent = [
        name
        for name, comes in (("choosing blocks", options.drop_blocks), ("report", report))
        if comes is None
    ]
    tell_idle(terminal, cluster, options)
    with terminal.bars("prune", absent) as progress:
        measuring, looking = (secateur.inside(progress, name) for name in ("measuring", "report"))
        with computing_on(cluster):
            pruned = secateur.prune(network, options, data=dataset, progress=progress)
        for note in stand_in.notes:
            terminal.note(note)
        if max_drop is not None:
            secateur.check_drop(
                network, pruned.network, measured, max_drop, task=options.task, progress=measuring
            )
        rows, saved = measure_and_save(
            network, pruned, output,
            data=dataset, measured=measured, task=options.task, target=options.target,
            progress=progress,
        )  # fmt: skip
        training = (
            secateur.emit_training(pruned, emit_training, solver=solver, data=data, saved=saved)
            if emit_training is not None
            else None
        )
        examples = reporting.looked_at(report, network, pruned.network, measured, reading, looking)
        dense = pruned.network if pruned.dense is None else pruned.dense
        times = reporting.timed(report, network, dense, looking)
    for note in pruned.notes:
        terminal.warn(note)
    if options.target is not None:
        print_refused(terminal, pruned.network, options.target, saved.paths[0])
    print_summary(terminal, rows, pruned, saved, table=not as_json)
    if together is not None and measured is not None:
        _tell_together(terminal, together, network, pruned.network, measured)
    told: tuple[str, ...] = ()
    if measured is None and pruned.plan.removes:
        told = (unmeasured(pruned, dataset, made=made),)
        terminal.warn(told[0])
    elif data is not None and measured is dataset and measured is not None and measured.labelled:
        told = (same_samples(data),)
    if as_json:
        written = [] if training is None else files_as_data(training.paths)
        print_json({**summary_as_data(rows, pruned, saved, told), "training_files": written})
    if training is not None:
        print_training(terminal, training)
    if report is not None:
        facts = secateur.ReportFacts(
            network=network, result=pruned, rows=rows, examples=examples, times=times,
            samples=measured.samples if measured is not None else None,
            data=measured.name if measured is not None else "", notes=told,
            command=reporting.command_line(),
            files=(*saved.paths, *saved.companions, *([saved.plan] if saved.plan else [])),
            written=saved.difference,
        )  # fmt: skip
        reporting.write(terminal, report, facts)


def _made(
    terminal: Terminal,
    network: Network,
    options: PruneOptions,
    data: Path | None,
    reading: DataOptions,
) -> StandIn:
    """Return made images to calibrate on: those that `data` names, or what stands in for data."""
    import secateur

    if data is None:
        return secateur.stand_in(network, options, samples=reading.limit)
    found = fitted(terminal, network, data, reading, purpose="calibrate")
    return secateur.StandIn(dataset=found.dataset)


def _measured(
    terminal: Terminal,
    network: Network,
    val: Path | None,
    reading: DataOptions,
    options: PruneOptions,
    gate: Gate,
) -> Dataset | None:
    """Return the data to measure on, which made images are not; None where there is none.

    Raises:
        DataError: it does not fit, or the gate needs labels that it has not.
    """
    if val is None:
        gate.check(None)
        return None
    found = fitted(terminal, network, val, reading, options.task, asked=gate.drop is not None)
    gate.check(found.task)
    return found.dataset


def _tell_together(
    terminal: Terminal, together: Together, original: Network, pruned: Network, data: Dataset
) -> None:
    """Say what groups lose together, where the data has what the curves were measured by."""
    import secateur

    task = secateur.find_task(original, data)
    if task.metric != together.metric:
        terminal.note(f"what they lose together is not measured: {data.name} gives {task.metric}")
        return
    with terminal.bars() as progress:
        lost, text = together.measured(original, pruned, data, progress)
    (terminal.warn if lost > together.each else terminal.note)(text)
