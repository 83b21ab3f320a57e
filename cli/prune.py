"""`secateur prune`: take channels out by rate, prove it, write it back, and tell what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .bundles import unbundled
from .data import open_data
from .plans import read_latencies, read_plan
from .summary import measure_and_save, print_summary


@unbundled
def command(
    context: typer.Context,
    files: options.Files,
    output: options.Output,
    rate: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.99, help="Fraction of the operations (or --budget) to remove."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="LOSS",
            help="Loss to bear instead: each group's with --analysis, else the network's.",
        ),
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
    criterion: options.Criterion = "auto",
    allocation: options.Allocation = "auto",
    budget: options.Budget = "operations",
    latencies: options.Latencies = None,
    layer_rate: options.LayerRate = None,
    layer_threshold: options.LayerThreshold = None,
    repair: options.Repair = "auto",
    no_repair: options.NoRepair = False,
    mode: Annotated[
        str,
        typer.Option(
            metavar="dense|sparse", help="sparse: full size with zeros, for fine-tuning elsewhere."
        ),
    ] = "dense",
    round_to: options.RoundTo = 1,
    max_rate: options.MaxRate = 1.0,
    exclude: options.Exclude = None,
    config: options.Config = None,
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
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Remove whole channels until a fraction of the operations is gone."""
    import secateur

    terminal = screen.terminal()
    if [rate, threshold, keep].count(None) != 2:
        raise typer.BadParameter("give one of --rate, --threshold, --keep", param_hint="--rate")
    if keep is not None:
        for flag, given in (
            ("--allocation", allocation != "auto"),
            ("--budget", budget != "operations"),
            ("--layer-rate", layer_rate),
            ("--layer-threshold", layer_threshold),
        ):
            if given:
                raise typer.BadParameter("a plan says itself what leaves", param_hint=flag)
    if mode not in ("dense", "sparse"):
        raise typer.BadParameter("must be dense or sparse", param_hint="--mode")
    settings = model.settings()
    network = secateur.load(*files, **settings, reset_seen=reset_seen)
    terminal.notes(network.notes)
    dataset = open_data(data, network, reading)
    with terminal.bars() as progress:
        if keep is not None:
            pruned = secateur.apply_plan(
                network,
                read_plan(keep),
                data=dataset,
                criterion=criterion,
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
                allocation=allocation,
                budget=budget,
                latencies=read_latencies(latencies) if latencies is not None else None,
                overrides=options.overrides(context, layer_rate, layer_threshold),
                repair="none" if no_repair else repair,
                sparse=mode == "sparse",
                exclude=exclude or (),
                limits=secateur.Limits(round_to=round_to, max_rate=max_rate),
                data=dataset,
                progress=progress,
            )
        if max_drop is not None:
            secateur.check_drop(network, pruned.network, dataset, max_drop, progress=progress)
        rows, saved = measure_and_save(
            network, pruned, files, output,
            data=dataset, companions=companion or (), progress=progress,
        )  # fmt: skip
    for note in pruned.notes:
        terminal.warn(note)
    print_summary(terminal, rows, pruned, saved)
