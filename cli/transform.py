"""`secateur transform`: carry out a plan on the original or on a fine-tuned sparse model, or take
the weights that a training elsewhere gave to a pruned one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateur import DataOptions, DensifyOptions, LoadOptions

from . import quality
from .common import AsJson, Companion, Data, File, Output, Val
from .device import runs_networks
from .flags import with_flags
from .opened import fitted, parts, prepared
from .output import files_as_data, print_json
from .screen import ScreenOptions
from .summary import measure_and_save, print_summary, summary_as_data

if TYPE_CHECKING:
    from secateur import Dataset, Network

    from .terminal import Terminal


@with_flags
@runs_networks
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
    as_json: AsJson = False,
    data: Data = None,
    val: Val = None,
    reading: DataOptions,
    model: LoadOptions,
    screen: ScreenOptions,
) -> None:
    """Remove the channels of a plan, or write a pruned model with weights trained elsewhere."""
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
        taken = _take_over(
            terminal, network, output, val or data, reading,
            planned=carried_out is not None, as_json=as_json,
        )  # fmt: skip
        if as_json:
            print_json(taken)
        return
    dataset = measured = None
    if data is not None:
        found = parts(terminal, network, data, val, reading, careful=options.repair != "absorb")
        dataset, measured = found.calibration.dataset, found.measured.dataset
    elif val is not None:
        measured = fitted(terminal, network, val, reading).dataset
    with terminal.bars("transform") as progress:
        dense = secateur.densify(network, carried_out, options, data=dataset, progress=progress)
        rows, saved = measure_and_save(
            network, dense, output,
            data=dataset, measured=measured, progress=progress,
        )  # fmt: skip
    for note in dense.notes:
        terminal.warn(note)
    print_summary(terminal, rows, dense, saved, table=not as_json)
    if as_json:
        print_json({**summary_as_data(rows, dense, saved), "figures": None})
    if measured is None:
        terminal.note("accuracy was not measured: no --data was given")


def _measure(
    terminal: Terminal, network: Network, dataset: Dataset, data: Path, *, as_json: bool
) -> dict[str, Any] | None:
    """Return the figures of a model where there are labels, and print them unless as JSON."""
    import secateur

    if not dataset.labelled:
        return None
    with terminal.bars() as progress:
        result = secateur.evaluate(network, dataset, progress=progress)
    rows = quality.rows_of([result], per_class=False)
    if not as_json:
        quality.show(terminal, [network.name], rows, result.samples, data)
    return quality.as_data([network.name], rows, result.samples, data)


def _take_over(
    terminal: Terminal,
    network: Network,
    output: Path,
    data: Path | None,
    reading: DataOptions,
    *,
    planned: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Write a pruned model with its trained weights, and measure it where there is data.

    Returns:
        what came of it, as plain values.
    """
    import secateur

    secateur.check_finite(network)
    dataset = figures = None
    if data is not None:
        dataset = fitted(terminal, network, data, reading).dataset
        figures = _measure(terminal, network, dataset, data, as_json=as_json)
    with terminal.bars() as progress:
        saved = secateur.save(network, output, data=dataset, progress=progress)
    reason = "the channels of the plan are gone already" if planned else "no plan is given"
    terminal.note(f"nothing is removed: {reason}")
    for path in (*saved.paths, *saved.companions):
        terminal.note(f"wrote {path}")
    terminal.note(f"read again, it computes the same (difference {saved.difference:.1e})")
    return {
        "removed": 0,
        "rate": None,
        "rows": [],
        "verification": {"written_equals_dense": saved.difference},
        "repairs": [],
        "files": files_as_data((*saved.paths, *saved.companions)),
        "plan": None,
        "notes": [f"nothing is removed: {reason}"],
        "figures": figures,
    }
