"""`secateur prune`: take channels out by rate, prove it, write it back, and tell what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .bundles import unbundled
from .data import open_data
from .plans import read_plan
from .summary import print_summary
from .terminal import Terminal


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


@unbundled
def command(
    files: options.Files,
    output: options.Output,
    rate: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.99, help="Fraction of the operations to remove."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="LOSS", help="Loss each group may bear instead (needs --analysis)."),
    ] = None,
    analysis: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="What `secateur ana` measured; shares out a rate or threshold."
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="PLAN", help="Carry out a plan.yaml instead of choosing by rate."),
    ] = None,
    criterion: Annotated[
        str,
        typer.Option(
            metavar="NAME|help",
            callback=_list_if_asked,
            is_eager=True,
            help="What says which channels leave first.",
        ),
    ] = "auto",
    repair: options.Repair = "auto",
    no_repair: options.NoRepair = False,
    mode: Annotated[
        str,
        typer.Option(
            metavar="dense|sparse", help="sparse: full size with zeros, for fine-tuning elsewhere."
        ),
    ] = "dense",
    round_to: Annotated[
        int, typer.Option(min=1, metavar="K", help="Keep a multiple of K channels.")
    ] = 1,
    max_rate: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Largest share a group may lose.")
    ] = 1.0,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Keep all channels of a layer (may be repeated)."),
    ] = None,
    companion: options.Companion = None,
    reset_seen: options.ResetSeen = False,
    data: options.Data = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS", help="Write nothing if accuracy drops by more (labelled data)."
        ),
    ] = None,
    reading: options.DataFlags = options.AS_USUAL,
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
    if [rate, threshold, keep].count(None) != 2:
        raise typer.BadParameter("give one of --rate, --threshold, --keep", param_hint="--rate")
    if mode not in ("dense", "sparse"):
        raise typer.BadParameter("must be dense or sparse", param_hint="--mode")
    settings = options.load_settings(flavour, partial, phase, stage, level, input_shape)
    network = secateur.load(*files, **settings, reset_seen=reset_seen)
    terminal.notes(network.notes)
    dataset = open_data(data, network, reading)
    with terminal.bars() as progress:
        if keep is not None:
            pruned = secateur.apply_plan(
                network,
                read_plan(keep),
                data=dataset,
                repair="none" if no_repair else repair,
                sparse=mode == "sparse",
                progress=progress,
            )
        else:
            pruned = secateur.prune(
                network,
                rate=rate,
                threshold=threshold,
                analysis=secateur.load_analysis(analysis) if analysis is not None else None,
                criterion=criterion,
                repair="none" if no_repair else repair,
                sparse=mode == "sparse",
                exclude=exclude or (),
                limits=secateur.Limits(round_to=round_to, max_rate=max_rate),
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
    print_summary(terminal, rows, pruned, saved)
