"""`secateur iterate`: prune in rounds, measure each, stop at the gate; killed, it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, words
from .bundles import unbundled
from .data import open_data
from .plans import read_latencies
from .terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..core.pruning.iterate import Iteration, Round

STARTS = ("original", "previous")
IN_PERCENT = ("Accuracy", "mAP", "Mean IoU")
"""Figures that are shown in percent; others as plain numbers."""


@unbundled
def command(
    context: typer.Context,
    files: options.Files,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the rounds (round-01, …).")
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Images or .npz: rounds are measured by labels, else against the original.",
            rich_help_panel=options.DATA,
        ),
    ],
    rates: Annotated[
        str | None,
        typer.Option(metavar="R,R…", help="Rising fractions of the original's operations."),
    ] = None,
    to: Annotated[
        float | None, typer.Option(metavar="R", help="Last rate; with --rounds, in equal steps.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many rounds lead --to there.")
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="original|previous", help="What a round prunes; rates stay the same."
        ),
    ] = "original",
    max_drop: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="Stop after a round that loses more (labels)."),
    ] = None,
    max_divergence: Annotated[
        float | None,
        typer.Option(metavar="D", help="Stop after a round that diverges more (no labels)."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget the rounds of an earlier run.")
    ] = False,
    config: options.Config = None,
    analysis: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="What `secateur ana` measured; shares out the rates.",
            rich_help_panel=options.CHOICE,
        ),
    ] = None,
    criterion: options.Criterion = "auto",
    allocation: options.Allocation = "auto",
    budget: options.Budget = "operations",
    latencies: options.Latencies = None,
    layer_rate: options.LayerRate = None,
    layer_threshold: options.LayerThreshold = None,
    repair: options.Repair = "auto",
    no_repair: options.NoRepair = False,
    round_to: options.RoundTo = 1,
    max_rate: options.MaxRate = 1.0,
    exclude: options.Exclude = None,
    companion: options.Companion = None,
    reset_seen: options.ResetSeen = False,
    reading: options.DataFlags = options.AS_USUAL,
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    as_json: options.AsJson = False,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Prune in rounds with a rising rate, measure each, stop when too much is lost."""
    import secateur

    from ..core.pruning.iterate import SUMMARY
    from ..core.pruning.options import rising_rates

    terminal = screen.terminal()
    if start not in STARTS:
        raise typer.BadParameter("must be original or previous", param_hint="--from")
    if (rates is None) == (to is None) or (to is None) != (rounds is None):
        raise typer.BadParameter("give --rates, or --to with --rounds", param_hint="--rates")
    if rates is not None:
        wanted = options.numbers(rates, "--rates")
    else:
        assert to is not None
        assert rounds is not None
        wanted = rising_rates(to, rounds)
    settings = model.settings()
    network = secateur.load(*files, **settings, reset_seen=reset_seen)
    terminal.notes(network.notes)
    dataset = open_data(data, network, reading)
    assert dataset is not None, "--data is required"
    with terminal.bars() as progress:
        found = secateur.iterate(
            network,
            dataset,
            output,
            rates=wanted,
            previous=start == "previous",
            max_drop=max_drop,
            max_divergence=max_divergence,
            criterion=criterion,
            allocation=allocation,
            analysis=secateur.load_analysis(analysis) if analysis is not None else None,
            budget=budget,
            latencies=read_latencies(latencies) if latencies is not None else None,
            overrides=options.overrides(context, layer_rate, layer_threshold),
            repair="none" if no_repair else repair,
            exclude=exclude or (),
            limits=secateur.Limits(round_to=round_to, max_rate=max_rate),
            companions=companion or (),
            restart=restart,
            progress=progress,
        )
    if as_json:
        print(json.dumps(found.to_data(), indent=1, ensure_ascii=False))  # noqa: T201
    else:
        terminal.out.print(_table(found))
    _tell(terminal, found, output)
    terminal.note(f"wrote {output / SUMMARY}")
    if found.best is None:
        raise typer.Exit(3)


def _table(found: Iteration) -> Table:
    from rich.table import Table

    table = Table(header_style="bold")
    for name in ("Round", "Rate", "Operations", "Delta", "Parameters", found.metric):
        table.add_column(name, justify="right")
    if found.baseline is not None:
        table.add_column("Loss", justify="right")
    table.add_row(
        "-", "-", words.count(found.operations) + "Op", "-", words.count(found.parameters),
        *([_figure(found, found.baseline), "-"] if found.baseline is not None else ["-"]),
    )  # fmt: skip
    for entry in found.rounds:
        loss = [f"{entry.loss:+.2f}"] if found.baseline is not None else []
        table.add_row(
            f"{entry.number}" + ("" if entry.passed else " ✗"),
            f"{entry.rate:g}",
            words.count(entry.operations) + "Op",
            words.percent(-entry.achieved),
            words.count(entry.parameters),
            _figure(found, entry.value),
            *loss,
        )
    return table


def _figure(found: Iteration, value: float) -> str:
    return f"{100 * value:.2f} %" if found.metric in IN_PERCENT else f"{value:.4g}"


def _tell(terminal: Terminal, found: Iteration, output: Path) -> None:
    """Say which round is the last one that may be used, and why there is no other."""
    from ..core.pruning.iterate import folder_of

    def place(entry: Round) -> str:
        return str(output / folder_of(entry.number))

    last = found.rounds[-1]
    if not last.passed:
        lost = f"{last.loss:.2f} points" if found.baseline is not None else f"{last.loss:.4g}"
        terminal.warn(f"stopped: {place(last)} loses {lost}, more than allowed")
    if found.best is not None:
        terminal.note(f"the last round that passed is {place(found.best)}")
