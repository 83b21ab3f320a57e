"""`secateur diff`: what differs between two models as they stand in their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import LoadOptions

from . import words
from .common import AsJson
from .flags import Fields, with_flags
from .output import print_json
from .screen import ScreenOptions
from .usage import UsageError

if TYPE_CHECKING:
    from secateur import LayerDifference, NetworkDifference, WeightChange, WeightStatistics

    from .terminal import Terminal

LINES = 6
"""Lines of a layer's text that the table shows at most, of each model."""


@with_flags
def command(
    *files: Annotated[
        Path, Parameter(name="FILE", required=True, help="The files of two models of any format.")
    ],
    every: Annotated[bool, Parameter(name="--all", help="List also what is the same.")] = False,
    as_json: AsJson = False,
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn"))],
    screen: ScreenOptions,
) -> None:
    """Tell what differs between two models, layer by layer: text, sizes, weights. Runs nothing."""
    import secateur

    terminal = screen.terminal()
    networks = secateur.load_all(files, model)
    if len(networks) != 2:
        raise UsageError(f"two models are needed, got {len(networks)}")
    for network in networks:
        terminal.notes(network.notes)
    found = secateur.diff(*networks)
    if as_json:
        print_json(found.to_data())
        return
    _print(terminal, found, every=every)


def _print(terminal: Terminal, found: NetworkDifference, *, every: bool) -> None:
    changed = found.changed
    shown = found.layers if every else changed
    if found.gone or found.new:
        for line in _lines(found.gone, "-") + _lines(found.new, "+"):
            terminal.out.print(line, markup=False, soft_wrap=True)
    if shown:
        _layers(terminal, shown)
    weights = [
        (layer, weight) for layer in shown for weight in layer.weights if every or not weight.same
    ]
    if weights:
        _weights(terminal, weights)
    if found.same:
        terminal.note("no difference")
        return
    before, after = found.operations
    operations = f"{words.count(before)} → {words.count(after)}" if before != after else "the same"
    less, more = found.parameters
    parameters = f"{words.count(less)} → {words.count(more)}" if less != more else "the same"
    terminal.note(
        f"{len(changed):,} of {len(found.layers):,} layers differ; operations: {operations}, "
        f"parameters: {parameters}"
    )
    if not found.texts:
        terminal.note("texts were not compared: the models do not both have one of the same format")


def _layers(terminal: Terminal, layers: tuple[LayerDifference, ...]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold")
    for name in ("Layer", "Type", "Output", "Text"):
        table.add_column(name, overflow="fold")
    for name in ("Params", "Ops"):
        table.add_column(name, justify="right", overflow="fold")
    for layer in layers:
        sides = (layer.before, layer.after)
        text = "\n".join(_lines(layer.gone, "-") + _lines(layer.new, "+"))
        if layer.before is None or layer.after is None:
            text = "only in the second" if layer.before is None else "only in the first"
        cells = (
            layer.name,
            _both([side.type if side else None for side in sides]),
            _both([words.shape(side.shape) if side else None for side in sides]),
            text,
            _both([words.count(side.parameters) if side else None for side in sides]),
            _both([words.count(side.operations) if side else None for side in sides]),
        )
        table.add_row(*map(escape, cells))
    terminal.out.print(table)


def _lines(lines: tuple[str, ...], sign: str) -> list[str]:
    """Return lines with a sign, the first ones where there are many."""
    more = [f"{sign} … {len(lines) - LINES} more"] if len(lines) > LINES else []
    return [f"{sign} {line}" for line in lines[:LINES]] + more


def _both(texts: list[str | None]) -> str:
    """Return what both models have, once where it is the same."""
    return " → ".join(dict.fromkeys(text for text in texts if text is not None))


def _weights(terminal: Terminal, weights: list[tuple[LayerDifference, WeightChange]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("Weights", overflow="fold")
    table.add_column("Shape", overflow="fold")
    for name in ("Mean", "Deviation", "Zeros", "Changed", "Rel. change"):
        table.add_column(name, justify="right", overflow="fold")
    for layer, weight in weights:
        sides = (weight.before, weight.after)
        table.add_row(
            escape(f"{layer.name}/{weight.name}"),
            _both([words.shape(side.shape) if side else None for side in sides]),
            _both([f"{side.mean:.3g}" if side else None for side in sides]),
            _both([f"{side.deviation:.3g}" if side else None for side in sides]),
            _both([_zeros(side) if side else None for side in sides]),
            f"{100 * weight.changed:.1f} %" if weight.changed is not None else "",
            f"{weight.relative:.2e}" if weight.relative is not None else "",
        )
    terminal.out.print(table)


def _zeros(side: WeightStatistics) -> str:
    text = f"{100 * side.zeros:.1f} %"
    return f"{text}, {side.infinite} not finite" if side.infinite else text
