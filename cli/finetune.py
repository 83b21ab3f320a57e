"""`secateur finetune`: train a pruned model further, by labels or by what its original computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, FinetuneOptions, LoadOptions, SparsifyOptions

from . import reporting
from .common import AsJson, File
from .flags import Fields, Panel, with_flags
from .opened import fitted, prepared
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from rich.table import Table

    from secateur import FinetuneEntry, FinetuneResult, Task

    from .terminal import Terminal

__all__ = ["command", "table_of", "tell_outcome"]

DIGITS = 4
"""Digits of losses and metrics."""


@with_flags
def command(
    *files: File,
    output: Annotated[
        Path, Parameter(name=("--output", "-o"), help="Folder of the model and its history.")
    ],
    teacher: Annotated[
        list[Path] | None,
        Parameter(
            metavar="FILES",
            consume_multiple=True,
            help="The model to learn from, usually that before pruning.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        Parameter(
            metavar="PLAN",
            help="The plan.yaml that the model was pruned by. For a sparse model, its zeros stay.",
        ),
    ] = None,
    solver: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Caffe: a solver.prototxt, whose schedule is followed."),
    ] = None,
    rewind: Annotated[
        list[Path] | None,
        Parameter(
            metavar="FILES",
            consume_multiple=True,
            help="The model before pruning at an early moment, or its weights alone: begin with "
            "the weights that the kept channels had there.",
        ),
    ] = None,
    solver_state: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            help="Caffe, with --solver: a .solverstate of an earlier training, which goes on.",
        ),
    ] = None,
    options: FinetuneOptions,
    sparsify: SparsifyOptions,
    resume: Annotated[bool, Parameter(help="Go on from the newest checkpoint.")] = False,
    restart: Annotated[bool, Parameter(help="Forget checkpoints of an earlier run.")] = False,
    tensorboard: Annotated[
        Path | None,
        Parameter(metavar="FOLDER", help="Write losses and metrics for TensorBoard, too."),
    ] = None,
    report: reporting.Report = None,
    as_json: AsJson = False,
    data: Annotated[
        Path, Parameter(help="Training data: images or .npz. Labels are used.", group=Panel.DATA)
    ],
    val: Annotated[
        Path | None,
        Parameter(
            help="Data to measure on; the best measurement is kept. Without it: the "
            "valid= of a .data file, or a tenth of the training data, which is held out.",
            group=Panel.DATA,
        ),
    ] = None,
    reading: Annotated[DataOptions, Fields(without=("batch",))],
    model: LoadOptions,
    screen: ScreenOptions,
) -> None:
    """Train a model further, by labels or by what the model before pruning computes."""
    import dataclasses

    import secateur

    first = secateur.team_place()[0] == 0  # the first process speaks for all that torchrun started
    terminal = screen.terminal(mute=not first)
    reporting.check(report)
    network = secateur.load(*files, options=model)
    terminal.notes(network.notes)
    if first:
        secateur.check_target(network, output)
    if solver is not None:
        options = dataclasses.replace(options, own_solver=True)
    start = secateur.begin(
        *files, solver=solver, solver_state=solver_state, all_layers=not options.own_solver,
        options=model,
    )  # fmt: skip
    early = None
    if rewind:
        early = secateur.begin_early(rewind, files, solver=solver, options=model)
    carried_out = secateur.load_plan(plan) if plan is not None else None
    network, reading = prepared(terminal, network, data, reading, plan=carried_out)
    if val is None and secateur.stands_apart(data, network, reading):
        val = data
    dataset = fitted(terminal, network, data, reading, purpose="calibrate").dataset
    original = secateur.load(*teacher, options=model) if teacher else None
    validation = fitted(terminal, network, val, reading).dataset if val is not None else None
    task = secateur.find_task(original or network, validation) if validation is not None else None
    lessons = secateur.Lessons(
        teacher=original,
        plan=carried_out,
        validation=validation,
        task=task,
        sparsify=sparsify if sparsify.method else None,
    )
    with secateur.board(tensorboard) as tell, terminal.bars() as progress:
        tuned = secateur.finetune_files(
            files, dataset, output, options, lessons=lessons, start=start, rewind=early,
            resume=resume, restart=restart, tell=tell, progress=progress,
        )  # fmt: skip
    if not first:
        return
    for note in tuned.result.notes:
        terminal.note(note)
    if as_json:
        print_json(tuned.result.to_data())
    else:
        terminal.out.print(table_of(tuned.result, task))
        tell_outcome(terminal, tuned.result, task)
    folder = Path(output)
    if report is not None:
        before = original or network
        with terminal.bars() as progress:
            examples = reporting.looked_at(
                report, before, tuned.result.network, validation, reading, progress
            )
            times = reporting.timed(report, before, tuned.result.network, progress)
        facts = secateur.ReportFacts(
            network=before, compressed=tuned.result.network, tuned=tuned.result, task=task,
            plan=tuned.result.plan, examples=examples, times=times,
            command=reporting.command_line(),
            files=(*tuned.saved.paths, folder / "history.csv"), written=tuned.saved.difference,
        )  # fmt: skip
        reporting.write(terminal, report, facts)
    states = (tuned.state,) if tuned.state is not None else ()
    plans = (folder / "plan.yaml",) if tuned.result.plan is not None else ()
    written = (
        *tuned.saved.paths, *states, *plans, folder / "history.csv", folder / "finetune.json",
    )  # fmt: skip
    for path in written:
        terminal.note(f"wrote {path}")
    if tuned.result.plan is not None:
        terminal.note("the model has its full size with zeros: `secateur transform --plan "
                      f"{folder / 'plan.yaml'}` makes it small")  # fmt: skip


def table_of(result: FinetuneResult, task: Task | None) -> Table:
    """Return the measurements of a training as a table."""
    from rich.table import Table

    table = Table(header_style="bold")
    sparse = ["Removed"] if result.plan is not None else []
    metric = [result.metric] if task else []
    names = ["Step", "Stage", *sparse, "Rate", "Loss", "Held out", *metric]
    for name in names:
        table.add_column(name, justify="left" if name == "Stage" else "right")
    for entry in result.history:
        table.add_row(
            f"{entry.step}" + (" *" if entry is result.best else ""),
            entry.stage,
            *([_share(entry.removed)] if sparse else []),
            f"{entry.rate:.2g}" if entry.rate else "-",
            f"{entry.loss:.{DIGITS}g}" if entry.loss is not None else "-",
            f"{entry.held_out:.{DIGITS}g}",
            *([_value(task, entry)] if task else []),
        )
    return table


def _share(removed: float | None) -> str:
    return "-" if removed is None else f"{removed * 100:.1f} %"


def _value(task: Task | None, entry: FinetuneEntry) -> str:
    if task is None or entry.value is None:
        return "-"
    return task.text(entry.value, digits=DIGITS)


def tell_outcome(terminal: Terminal, result: FinetuneResult, task: Task | None) -> None:
    """Say what training came to."""
    apart = f", {result.held_out} held out" if result.held_out else ""
    terminal.note(
        f"{result.samples} samples{apart}, {result.steps} steps of {result.batch}, "
        f"{result.images:.3g} images a second"
    )
    if result.removed is not None:
        terminal.note(f"{_share(result.removed)} of the operations are gone")
    if result.best.step == 0:
        terminal.warn("training made nothing better: the model is written as it was")
    elif task is not None:
        before, after = _value(task, result.start), _value(task, result.best)
        terminal.note(f"{result.metric}: {before} before, {after} at step {result.best.step}")
