"""`secateur stat`: operations and parameters, layer by layer, in both usual ways of counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateur import LoadOptions

from . import words
from .common import AsJson, File
from .flags import Fields, with_flags
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from pathlib import Path

    from secateur import Description, Network

    from .terminal import Terminal


@with_flags
def command(
    *files: File,
    as_json: AsJson = False,
    every: Annotated[
        bool,
        Parameter(name="--all", help="List also layers that neither store nor compute anything."),
    ] = False,
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn"))],
    screen: ScreenOptions,
) -> None:
    """Count operations and parameters, layer by layer."""
    import secateur

    terminal = screen.terminal()
    text = files[0] if len(files) == 1 else None
    network = secateur.load(*files, options=model) if text is None else _alone(text, model)
    description = secateur.describe(network)
    terminal.notes(description.notes)
    rows = _rows(description)
    shown = [row for row in rows if every or row["parameters"] or row["operations"]]
    if as_json:
        totals = _totals(rows)
        content = {"name": description.name, "totals": totals, "layers": shown}
        print_json(content)
    else:
        _print(terminal, shown, _totals(rows), words.sample(description.regions))


def _alone(file: Path, options: LoadOptions) -> Network:
    """Return the network of one file: a model, or the text of one, whose weights count nothing."""
    import secateur

    if file.suffix.lower() == ".onnx":
        return secateur.load(file, options=options)
    return secateur.load_text(file, options=options)


def _rows(description: Description) -> list[dict[str, Any]]:
    costs = description.cost.layers
    return [
        {
            "name": row.name,
            "type": row.type,
            "shape": list(row.shape) if row.shape is not None else None,
            "parameters": row.parameters,
            "operations": costs[index].operations,
            "vendor_operations": costs[index].convolution_operations,
            "macs": costs[index].macs,
        }
        for index, row in enumerate(description.layers)
    ]


def _totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    keys = ("parameters", "operations", "vendor_operations", "macs")
    return {key: sum(row[key] for row in rows) for key in keys}


def _print(
    terminal: Terminal, rows: list[dict[str, Any]], totals: dict[str, int], counted: str
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    table.add_column("Layer", "Total", overflow="fold")
    table.add_column("Type", overflow="fold")
    table.add_column("Output", overflow="fold")
    heads = (("Params", "parameters"), ("Ops", "operations"), ("Vendor's ops", "vendor_operations"),
             ("MACs", "macs"))  # fmt: skip
    for head, key in heads:
        table.add_column(head, words.count(totals[key]), justify="right", no_wrap=True)
    for row in rows:
        shape = tuple(row["shape"]) if row["shape"] is not None else None
        counts = [words.count(row[key]) if row[key] else "" for _, key in heads]
        table.add_row(row["name"], row["type"], words.shape(shape), *counts)
    terminal.out.print(table)
    terminal.note(
        f"Ops: 2 × MACs + additions of biases, {counted}; the vendor's count leaves fully "
        "connected layers out"
    )
