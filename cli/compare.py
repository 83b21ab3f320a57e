"""`secateur compare`: run two models on the same inputs and tell how far apart they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateur import DataOptions, LoadOptions

from . import words
from .common import AsJson
from .device import runs_networks
from .flags import Fields, Panel, with_flags
from .opened import prepared
from .output import print_json
from .screen import ScreenOptions
from .usage import UsageError

if TYPE_CHECKING:
    from secateur import Comparison

    from .terminal import Terminal


@with_flags
@runs_networks
def command(
    *files: Annotated[
        Path, Parameter(name="FILE", required=True, help="The files of two models of any format.")
    ],
    data: Annotated[
        Path | None,
        Parameter(
            name=("--input", "--data"), help="Images or .npz; noise if not given.", group=Panel.DATA
        ),
    ] = None,
    tolerance: Annotated[
        float, Parameter(metavar="R", help="Largest relative difference to allow.")
    ] = 1e-4,
    as_json: AsJson = False,
    reading: DataOptions,
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn"))],
    screen: ScreenOptions,
) -> int:
    """Run two models on the same inputs and print how far their outputs are apart."""
    import secateur

    if tolerance < 0:
        raise UsageError(f"must not be negative, got {tolerance:g}", flag="--tolerance")
    terminal = screen.terminal()
    networks = secateur.load_all(files, model)
    if len(networks) != 2:
        raise UsageError(f"two models are needed, got {len(networks)}")
    (first, reading), second = prepared(terminal, networks[0], data, reading), networks[1]
    dataset = secateur.open_dataset(data, first, reading) if data is not None else None
    terminal.tell(secateur.input_notes(first, dataset))
    with terminal.bars() as progress:
        comparison = secateur.compare(first, second, dataset, progress=progress)
    for note in comparison.notes:
        terminal.note(f"note: {note}")
    if as_json:
        print_json(_as_data(comparison, tolerance))
    else:
        _print(terminal, comparison)
    if comparison.within(tolerance):
        return 0
    terminal.err.print(
        f"error: output '{comparison.worst.a}' differs by {comparison.worst.relative:.2e}, "
        f"allowed is {tolerance:.0e}",
        markup=False,
        soft_wrap=True,
    )
    return 3


def _as_data(comparison: Comparison, tolerance: float) -> dict[str, Any]:
    return {
        "samples": comparison.samples,
        "tolerance": tolerance,
        "within": comparison.within(tolerance),
        "outputs": [
            {
                "first": output.a, "second": output.b, "shape": list(output.shape),
                "absolute": output.absolute, "relative": output.relative,
            }
            for output in comparison.outputs
        ],
        "notes": list(comparison.notes),
    }  # fmt: skip


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
