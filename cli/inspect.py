"""`secateur inspect`: the layers of a model, what they cost, and what can be pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateur import LoadOptions

from . import words
from .common import AsJson, Companion, File
from .flags import Fields, with_flags
from .output import print_json
from .screen import ScreenOptions
from .summary import print_refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import secateur
    from secateur import Description, LayerRow

    from .terminal import Terminal


@with_flags
def command(
    *files: File,
    companion: Companion = None,
    target: Annotated[
        str | None,
        Parameter(
            metavar="NAME|FILE.yaml",
            help="Also what the model costs this engine, and which layers it cannot take.",
        ),
    ] = None,
    as_json: AsJson = False,
    model: Annotated[LoadOptions, Fields(without=("reset_seen",))],
    screen: ScreenOptions,
) -> None:
    """Show the layers of a model: shapes, parameters, operations, channel groups."""
    import secateur

    terminal = screen.terminal()
    engine = secateur.find_target(target) if target is not None else None
    network = secateur.load(*files, companions=companion or (), options=model)
    description = secateur.describe(network)
    terminal.notes(description.notes)
    if engine is not None:
        print_refused(terminal, network, engine, described_in(network, files))
    cost = secateur.target_cost(network, engine) if engine is not None else None
    if as_json:
        data = as_data(description)
        if engine is not None:
            data["totals"]["target"] = {"name": engine.name, "cost": cost}
        print_json(data)
        return
    _print(terminal, description)
    if engine is not None:
        blocks = "×".join(map(str, engine.blocks))
        text = f"{cost:,} ({engine.name}: operations in blocks of {blocks} channels)"
        terminal.out.print(f"{'Target:':<16}{text}", markup=False)


def described_in(network: secateur.Network, files: Sequence[Path]) -> Path:
    """Return the file whose lines the layers of a network name."""
    known = network.source.paths if network.source is not None else {}
    lines = [path for suffix, path in known.items() if suffix in (".prototxt", ".cfg")]
    return (lines or list(files))[0]


def as_data(description: Description) -> dict[str, Any]:
    """Return a description as plain values for JSON."""
    cost = description.cost
    return {
        "name": description.name,
        "format": description.format,
        "inputs": {name: list(shape) for name, shape in description.inputs.items()},
        "outputs": {name: list(shape) for name, shape in description.outputs.items()},
        "regions": list(description.regions),
        "totals": {
            "parameters": cost.parameters,
            "operations": cost.operations,
            "operations_without_fully_connected": cost.convolution_operations,
        },
        "layers": [
            {
                "name": row.name,
                "type": row.type,
                "line": row.line,
                "shape": list(row.shape) if row.shape is not None else None,
                "parameters": row.parameters,
                "operations": row.operations,
                "groups": list(row.groups),
                "fixed": row.reason,
            }
            for row in description.layers
        ],
        "groups": [
            {
                "name": group.name,
                "layers": list(group.layers),
                "channels": len(group.units),
                "removable": len(group.removable()),
                "step": group.step,
                "fixed": str(group.reason) if group.reason is not None else None,
            }
            for group in description.groups
        ],
        "blocks": [
            {
                "name": block.name,
                "layers": list(block.layers),
                "operations": block.operations,
                "parameters": block.parameters,
            }
            for block in description.blocks
        ],
    }


def _print(terminal: Terminal, description: Description) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Layer", overflow="fold")
    table.add_column("Type", overflow="fold")
    table.add_column("Output", overflow="fold")
    table.add_column("Params", justify="right", no_wrap=True)
    table.add_column("Ops", justify="right", no_wrap=True)
    table.add_column("Group, or why fixed", overflow="fold")
    steps = {group.name: (group.step, len(group.units)) for group in description.groups}
    for row in description.layers:
        table.add_row(
            row.name,
            row.type,
            words.shape(row.shape),
            words.count(row.parameters) if row.parameters else "",
            words.count(row.operations) if row.operations else "",
            _group(row, steps),
        )
    terminal.out.print(table)
    cost = description.cost
    counted = words.sample(description.regions)
    prunable = [group for group in description.groups if group.prunable]
    more = f"; {description.freed} more with --lrn inexact" if description.freed > 0 else ""
    lines = (
        ("Inputs", _shapes(description.inputs)),
        ("Outputs", _shapes(description.outputs)),
        ("Parameters", f"{cost.parameters:,}"),
        ("Operations", f"{cost.operations:,} (2 × MAC + bias, {counted})"),
        ("Vendor's count", f"{cost.convolution_operations:,} (fully connected layers left out)"),
        ("Groups", f"{len(description.groups)}, of which {len(prunable)} can be pruned{more}"),
        *((("Blocks", _blocks(description)),) if description.blocks else ()),
    )
    terminal.out.print()
    for name, text in lines:
        terminal.out.print(f"{name + ':':<16}{text}", markup=False)


def _blocks(description: Description) -> str:
    """Return the blocks that may be dropped, with the part of the operations that each saves."""
    whole = max(description.cost.operations, 1)
    shown = ", ".join(
        f"{block.name} ({100 * block.operations / whole:.1f} %)" for block in description.blocks
    )
    return f"{len(description.blocks)} can be dropped (--drop-blocks): {shown}"


def _group(row: LayerRow, steps: dict[str, tuple[int, int]]) -> str:
    """Return the groups of a layer, with the fewest channels that leave where that is not one."""
    if row.reason is not None:
        return f"[dim]{_escaped(row.reason)}[/dim]"
    shown = ", ".join(
        f"{name} ({steps[name][0]} of {steps[name][1]} at a time)" if steps[name][0] > 1 else name
        for name in row.groups[:3]
    )
    return _escaped(shown + (f" and {len(row.groups) - 3} more" if len(row.groups) > 3 else ""))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _shapes(values: dict[str, tuple[int | str, ...]]) -> str:
    return ", ".join(f"{name} {words.shape(shape)}" for name, shape in values.items())
