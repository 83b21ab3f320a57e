"""`secateur transform`: carry out a plan on the original or on a fine-tuned sparse model, or take
the weights that a training elsewhere gave to a pruned one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, DensifyOptions, LoadOptions

from . import quality
from .common import Companion, Data, File, Output, Val
from .flags import with_flags
from .opened import fitted, parts, prepared
from .screen import ScreenOptions
from .summary import measure_and_save, print_summary

if TYPE_CHECKING:
    from secateur import Dataset, Network

    from .terminal import Terminal


@with_flags
def command(
    *files: File,
    plan: Annotated[
        Path | None,
        Parameter(
            metavar="PLAN",
            help="The plan.yaml that says which channels to remove. Without it, the model is taken "
            "as one that was pruned before its weights were trained: nothing is removed.",
        ),
    ] = None,
    output: Output,
    options: DensifyOptions,
    companion: Companion = None,
    data: Data = None,
    val: Val = None,
    reading: DataOptions,
    model: LoadOptions,
    screen: ScreenOptions,
) -> None:
    """Remove the channels of a plan, or take over weights that a pruned model was trained to."""
    import secateur

    terminal = screen.terminal()
    try:
        network = secateur.load(*files, companions=companion or (), options=model)
    except secateur.FormatError as error:
        if not error.hint or "belong together" in error.hint:  # it is known here which do
            error.hint = (
                "weights that were trained after pruning go with the pruned text, those of a "
                "sparse model with a text of full size"
            )
        raise
    terminal.notes(network.notes)
    carried_out = secateur.load_plan(plan) if plan is not None else None
    network, reading = prepared(terminal, network, data or val, reading, plan=carried_out)
    secateur.check_target(network, output)
    if carried_out is None or secateur.carried_out(network, carried_out):
        for option in ("force", "repair"):
            if getattr(options, option) != getattr(type(options)(), option):
                raise secateur.PlanError(
                    "there is nothing to remove",
                    hint="it goes with the plan of a model of full size",
                    option=option,
                )
        _take_over(terminal, network, output, val or data, reading, planned=carried_out is not None)
        return
    dataset = measured = None
    if data is not None:
        found = parts(terminal, network, data, val, reading, careful=options.repair != "absorb")
        dataset, measured = found.calibration.dataset, found.measured.dataset
    elif val is not None:
        measured = fitted(terminal, network, val, reading).dataset
    with terminal.bars() as progress:
        dense = secateur.densify(network, carried_out, options, data=dataset, progress=progress)
        rows, saved = measure_and_save(
            network, dense, output,
            data=dataset, measured=measured, progress=progress,
        )  # fmt: skip
    for note in dense.notes:
        terminal.warn(note)
    print_summary(terminal, rows, dense, saved)
    if measured is None:
        terminal.note("accuracy was not measured: no --data was given")


def _measure(terminal: Terminal, network: Network, dataset: Dataset, data: Path) -> None:
    """Print the figures of a model where there are labels."""
    import secateur

    if dataset.labelled:
        with terminal.bars() as progress:
            result = secateur.evaluate(network, dataset, progress=progress)
        rows = quality.rows_of([result], per_class=False)
        quality.show(terminal, [network.name], rows, result.samples, data)


def _take_over(
    terminal: Terminal,
    network: Network,
    output: Path,
    data: Path | None,
    reading: DataOptions,
    *,
    planned: bool,
) -> None:
    """Write a pruned model with its trained weights, and measure it where there is data."""
    import secateur

    secateur.check_finite(network)
    dataset = None
    if data is not None:
        dataset = fitted(terminal, network, data, reading).dataset
        _measure(terminal, network, dataset, data)
    with terminal.bars() as progress:
        saved = secateur.save(network, output, data=dataset, progress=progress)
    reason = "the channels of the plan are gone already" if planned else "no plan is given"
    terminal.note(f"nothing is removed: {reason}")
    for path in (*saved.paths, *saved.companions):
        terminal.note(f"wrote {path}")
    terminal.note(f"read again, it computes the same (difference {saved.difference:.1e})")
