"""`secateur prune`: take channels out by rate, prove it, write it back, and tell what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, words
from .data import open_data
from .terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..core.report import Row


def _list_if_asked(name: str) -> str:
    """Print all criteria where the name is "help", before anything else is asked for."""
    if name != "help":
        return name
    import secateur

    typer.echo("auto        surgery where --data is given, else l1")
    typer.echo("surgery     least loss of the network's outputs per operation, others compensate")
    for entry in sorted(secateur.CRITERIA.values(), key=lambda entry: entry.name):
        typer.echo(f"{entry.name:<12}{entry.summary} ({entry.source})")
    raise typer.Exit


def command(
    files: options.Files,
    rate: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Fraction of the operations to remove.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Directory, or a file that names the output itself."),
    ],
    criterion: Annotated[
        str,
        typer.Option(
            metavar="NAME|help",
            callback=_list_if_asked,
            is_eager=True,
            help="What says which channels leave first.",
        ),
    ] = "auto",
    repair: Annotated[
        bool,
        typer.Option("--repair/--no-repair", help="Refit the remaining weights (needs --data)."),
    ] = True,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Keep all channels of a layer (may be repeated)."),
    ] = None,
    companion: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Another prototxt or cfg of the same layers, to be changed alike (repeatable).",
        ),
    ] = None,
    reset_seen: options.ResetSeen = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Images or .npz for proofs and measurements.", rich_help_panel=options.DATA
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS", help="Write nothing if accuracy drops by more (labelled data)."
        ),
    ] = None,
    mean: options.Mean = None,
    scale: options.Scale = None,
    channels: options.Channels = None,
    letterbox: options.Letterbox = None,
    limit: options.Limit = None,
    flavour: options.Flavour = "auto",
    partial: options.Partial = False,
    phase: options.Phase = "TEST",
    stage: options.Stage = None,
    level: options.Level = 0,
    input_shape: options.InputShape = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Remove whole channels until a fraction of the operations is gone."""
    import secateur

    terminal = Terminal(quiet=quiet, verbose=verbose)
    settings = options.load_settings(flavour, partial, phase, stage, level, input_shape)
    network = secateur.load(*files, **settings, reset_seen=reset_seen)
    terminal.notes(network.notes)
    dataset = open_data(
        data, network, mean=mean, scale=scale, channels=channels, letterbox=letterbox, limit=limit
    )
    with terminal.bars() as progress:
        pruned = secateur.prune(
            network,
            rate=rate,
            criterion=criterion,
            repair=repair,
            exclude=exclude or (),
            data=dataset,
            progress=progress,
        )
        if max_drop is not None:
            secateur.check_drop(network, pruned, dataset, max_drop, progress=progress)
        saved = secateur.save(
            pruned, output, data=dataset, companions=companion or (), progress=progress
        )
        before = sum(path.stat().st_size for path in files)
        rows = secateur.summarize(
            network, pruned, data=dataset, sizes=(before, saved.size), progress=progress
        )
    for note in pruned.notes[len(network.notes) :]:
        terminal.warn(note)
    terminal.out.print(_table(rows))
    if pruned.plan is not None:
        proof = pruned.plan.provenance["proof"]
        terminal.note(
            f"masked = dense: {proof['masked_equals_dense']:.1e}, "
            f"written = dense: {saved.difference:.1e} "
            f"(largest relative difference, {proof['samples']} samples of {proof['inputs']})"
        )
    for path in (*saved.paths, *saved.companions, *([saved.plan] if saved.plan else [])):
        terminal.note(f"wrote {path}")


def _table(rows: Sequence[Row]) -> object:
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("Item")
    for name in ("Baseline", "Compressed", "Delta"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        delta = words.percent(row.delta) if row.relative else _difference(row)
        table.add_row(row.item, _value(row, row.baseline), _value(row, row.compressed), delta)
    return table


def _value(row: Row, value: float) -> str:
    if row.unit == "B":
        return words.size(value)
    if row.unit == "ms":
        return f"{value:.2f} ms"
    if row.unit == "%":
        return f"{value:.2f} %"
    return words.count(value) + row.unit if row.relative else f"{value:.4f}"


def _difference(row: Row) -> str:
    return f"{row.delta:+.2f}" if row.unit == "%" else f"{row.delta:+.4f}"
