"""`secateur transform`: carry out a plan on the original or on a fine-tuned sparse model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .bundles import unbundled
from .data import open_data
from .plans import read_plan
from .summary import measure_and_save, print_summary


@unbundled
def command(
    files: options.Files,
    plan: Annotated[Path, typer.Option(help="The plan.yaml that says what to remove.")],
    output: options.Output,
    force: Annotated[
        bool, typer.Option("--force", help="Remove channels even where they carry weight again.")
    ] = False,
    repair: options.Repair = "absorb",
    no_repair: options.NoRepair = False,
    companion: options.Companion = None,
    data: options.Data = None,
    reading: options.DataFlags = options.AS_USUAL,
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Make a model dense by a plan: the original, or a sparse one fine-tuned elsewhere."""
    import secateur

    terminal = screen.terminal()
    settings = model.settings()
    network = secateur.load(*files, **settings)
    terminal.notes(network.notes)
    dataset = open_data(data, network, reading)
    with terminal.bars() as progress:
        dense = secateur.densify(
            network,
            read_plan(plan),
            force=force,
            repair="none" if no_repair else repair,
            data=dataset,
            progress=progress,
        )
        rows, saved = measure_and_save(
            network, dense, files, output,
            data=dataset, companions=companion or (), progress=progress,
        )  # fmt: skip
    for note in dense.notes:
        terminal.warn(note)
    print_summary(terminal, rows, dense, saved)
