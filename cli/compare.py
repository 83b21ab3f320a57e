"""`secateur compare`: run two models on the same inputs and tell how far apart they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, words
from .bundles import unbundled
from .data import open_data
from .terminal import Terminal

if TYPE_CHECKING:
    from ..core.verify.compare import Comparison


@unbundled
def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="The files of two models of any format.", show_default=False
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "--data",
            help="Images or .npz; noise where left out.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Largest relative difference allowed.")
    ] = 1e-4,
    reading: options.DataFlags = options.AS_USUAL,
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Run two models on the same inputs and print how far their outputs are apart."""
    import secateur

    terminal = screen.terminal()
    settings = model.settings()
    networks = secateur.load_all(files, **settings)
    if len(networks) != 2:
        raise typer.BadParameter(
            f"two models are needed, got {len(networks)}", param_hint="FILE..."
        )
    first, second = networks
    dataset = open_data(data, first, reading)
    with terminal.bars() as progress:
        comparison = secateur.compare(first, second, dataset, progress=progress)
    for note in comparison.notes:
        terminal.note(f"note: {note}")
    _print(terminal, comparison)
    if not comparison.within(tolerance):
        terminal.err.print(
            f"error: output '{comparison.worst.a}' differs by {comparison.worst.relative:.2e}, "
            f"allowed is {tolerance:.0e}",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(3)


def _print(terminal: Terminal, comparison: Comparison) -> None:
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("Output", overflow="fold")
    table.add_column("Shape", no_wrap=True)
    for name in ("Max. absolute", "Max. relative"):
        table.add_column(name, justify="right", no_wrap=True)
    for output in comparison.outputs:
        name = output.a if output.a == output.b else f"{output.a} / {output.b}"
        table.add_row(
            name, words.shape(output.shape), f"{output.absolute:.3e}", f"{output.relative:.3e}"
        )
    terminal.out.print(table)
    terminal.note(f"{comparison.samples} samples; relative to the output's largest value")
