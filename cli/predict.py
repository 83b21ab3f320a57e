"""`secateur predict`, `secateur detect`: what models find in pictures, drawn and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, LoadOptions, PredictOptions

from .common import AsJson
from .device import runs_networks
from .flags import Fields, Panel, with_flags
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from secateur import Dataset, Network, Predicted

    from .terminal import Terminal

MOST = 50
"""Samples that are printed; files have all."""


@with_flags
@runs_networks
def command(
    *files: Annotated[
        Path, Parameter(name="FILE", required=True, help="The files of one model or of two.")
    ],
    data: Annotated[
        Path,
        Parameter(name="--data", help="Images; labels are not needed.", group=Panel.DATA),
    ],
    output: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"),
            metavar="FOLDER",
            help="A new folder for the pictures, an index of them, and all that was found as CSV "
            "and JSON.",
        ),
    ] = None,
    options: PredictOptions,
    as_json: AsJson = False,
    reading: Annotated[DataOptions, Fields(without=("ignore_label",))],
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn", "regions"))],
    screen: ScreenOptions,
) -> None:
    """Show what models find in images: boxes, classes or coloured maps; two models side by side."""
    import secateur

    terminal = screen.terminal()
    networks = secateur.load_all(files, model)
    if len(networks) > 2:
        raise secateur.FormatError(f"one model or two can be shown, got {len(networks)}")
    for network in networks:
        terminal.notes(network.notes)
    if output is not None:
        secateur.check_pictures(output)
    # The names are for people: as names of folders they would make labels of them.
    datasets = [_opened(data, network, replace(reading, names=None)) for network in networks]
    names = secateur.class_names(datasets[0], reading)
    models = _distinct([network.name for network in networks])
    with terminal.bars() as progress:
        predictions = secateur.predict(networks, datasets, options, progress=progress)
        if output is not None:
            found = secateur.save_pictures(predictions, output, models, names)
        else:
            found = [secateur.Predicted.of(prediction, names) for prediction in predictions]
    for network, dataset in zip(networks, datasets, strict=True):
        terminal.tell(secateur.input_notes(network, dataset))
    for problem in datasets[0].problems:
        terminal.warn(f"left out: {problem}")
    if as_json:
        content = {"models": models, "samples": [one.to_data() for one in found]}
        print_json(content)
    else:
        _print(terminal, found, models)
    if output is not None:
        terminal.note(f"wrote {len(found):,} pictures and {output / 'index.html'}")


def _opened(data: Path, network: Network, reading: DataOptions) -> Dataset:
    """Return data without labels: nothing is measured here."""
    import secateur

    dataset = secateur.open_dataset(data, network, reading)
    plain = getattr(dataset, "unlabelled", None)
    found: Dataset = plain() if plain is not None else dataset
    return found


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names of the models, with numbers where both are called the same."""
    if len(set(names)) == len(names):
        return list(names)
    return [f"{name} ({place})" for place, name in enumerate(names, 1)]


def _print(terminal: Terminal, found: Sequence[Predicted], models: Sequence[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    two = len(models) > 1
    shown = sorted(found, key=lambda one: -one.disagreement) if two else list(found)
    table = Table(header_style="bold")
    table.add_column("Sample", overflow="fold")
    for name in models:
        table.add_column(escape(name), overflow="fold")
    if two:
        table.add_column("Apart", justify="right", no_wrap=True)
    for one in shown[:MOST]:
        cells = [escape(text) for text in (one.name, *one.texts)]
        table.add_row(*cells, *([f"{one.disagreement:.3f}"] if two else []))
    terminal.out.print(table)
    if len(shown) > MOST:
        terminal.note(f"and {len(shown) - MOST:,} more (-o FOLDER writes all, --json prints them)")
    if two:
        changed = sum(one.differs for one in found)
        terminal.note(f"the models tell something else in {changed:,} of {len(found):,} samples")
