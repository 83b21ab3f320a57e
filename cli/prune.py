"""`secateur prune`: remove channels, verify, write back, and say what it cost."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from secateur import DataOptions, LoadOptions, PruneOptions

from .common import Companion, Data, File, Output
from .flags import with_flags
from .opened import fitted
from .screen import ScreenOptions
from .summary import measure_and_save, print_summary


@with_flags
def command(
    *files: File,
    output: Output,
    options: PruneOptions,
    max_drop: Annotated[
        float | None,
        Parameter(
            metavar="POINTS",
            help="With labels: write nothing if accuracy drops by more percentage points.",
        ),
    ] = None,
    companion: Companion = None,
    data: Data = None,
    reading: DataOptions,
    model: LoadOptions,
    screen: ScreenOptions,
) -> None:
    """Remove whole channels until a fraction of the operations is gone."""
    import secateur

    terminal = screen.terminal()
    network = secateur.load(*files, companions=companion or (), options=model)
    terminal.notes(network.notes)
    network = secateur.with_preprocess(network, reading)
    secateur.check_target(network, output)
    gate = secateur.Gate(drop=max_drop)
    dataset = None
    if data is not None:
        asked = max_drop is not None
        found = fitted(terminal, network, data, reading, options.task, asked=asked)
        dataset = found.dataset
        gate.check(found.task)
    else:
        gate.check(None)
    with terminal.bars() as progress:
        pruned = secateur.prune(network, options, data=dataset, progress=progress)
        if max_drop is not None:
            secateur.check_drop(
                network, pruned.network, dataset, max_drop, task=options.task, progress=progress
            )
        rows, saved = measure_and_save(
            network, pruned, files, output,
            data=dataset, task=options.task, progress=progress,
        )  # fmt: skip
    for note in pruned.notes:
        terminal.warn(note)
    print_summary(terminal, rows, pruned, saved)
