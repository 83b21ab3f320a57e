"""`secateur transform`: carry out a plan on the original or on a fine-tuned sparse model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from secateur import DataOptions, DensifyOptions, LoadOptions

from .common import Companion, Data, File, Output
from .flags import with_flags
from .opened import fitted
from .screen import ScreenOptions
from .summary import measure_and_save, print_summary


@with_flags
def command(
    *files: File,
    plan: Annotated[
        Path, Parameter(metavar="PLAN", help="The plan.yaml that says which channels to remove.")
    ],
    output: Output,
    options: DensifyOptions,
    companion: Companion = None,
    data: Data = None,
    reading: DataOptions,
    model: LoadOptions,
    screen: ScreenOptions,
) -> None:
    """Remove the channels of a plan from the original model, or from a fine-tuned sparse one."""
    import secateur

    terminal = screen.terminal()
    network = secateur.load(*files, companions=companion or (), options=model)
    terminal.notes(network.notes)
    network = secateur.with_preprocess(network, reading)
    secateur.check_target(network, output)
    carried_out = secateur.load_plan(plan)
    dataset = fitted(terminal, network, data, reading).dataset if data is not None else None
    with terminal.bars() as progress:
        dense = secateur.densify(network, carried_out, options, data=dataset, progress=progress)
        rows, saved = measure_and_save(
            network, dense, files, output,
            data=dataset, progress=progress,
        )  # fmt: skip
    for note in dense.notes:
        terminal.warn(note)
    print_summary(terminal, rows, dense, saved)
