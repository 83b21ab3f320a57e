"""`secateur valid`: measure one model or several on labelled data, or two against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as flags
from . import quality
from .bundles import unbundled
from .data import open_data
from .terminal import Terminal

if TYPE_CHECKING:
    import secateur

    from ..core.data import Dataset
    from ..core.ir.network import Network

Models = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...", help="The files of one model or several.", show_default=False
    ),
]
Data = Annotated[
    Path,
    typer.Option("--data", help="Labelled data (docs/data.md).", rich_help_panel=flags.DATA),
]
Score = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Detectors: leave out lower scores.")
]
Nms = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="Detectors: overlap that suppresses a worse box."),
]
Overlap = Annotated[
    float, typer.Option("--iou", min=0.0, max=1.0, help="Detectors: overlap that is right.")
]


@unbundled
def command(
    files: Models,
    data: Data,
    top: Annotated[
        str, typer.Option("--top-k", metavar="K,K...", help="Classifiers: among the K best.")
    ] = "1,5",
    per_class: Annotated[bool, typer.Option("--per-class", help="A line a class, too.")] = False,
    accuracy: Annotated[
        str | None,
        typer.Option("--accuracy", metavar="TOP", help="Caffe: what this Accuracy layer counts."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="NAME", help="Measure this output.")
    ] = None,
    score: Score = None,
    nms: Nms = None,
    overlap: Overlap = 0.5,
    as_json: flags.AsJson = False,
    reading: flags.DataFlags = flags.AS_USUAL,
    batch: flags.Batch = None,
    model: flags.ModelFlags = flags.MODEL_AS_USUAL,
    screen: flags.ScreenFlags = flags.SCREEN_AS_USUAL,
) -> None:
    """Measure models on labelled data; without labels, the second against the first."""
    import secateur

    ranks = tuple(int(k) for k in flags.numbers(top, "--top-k"))
    if min(ranks) < 1:
        raise typer.BadParameter("must be at least 1", param_hint="--top-k")
    run(
        files,
        data,
        terminal=screen.terminal(),
        loading=model.settings(),
        reading=reading,
        batch=batch,
        options=secateur.TaskOptions(
            top=ranks, score=score, suppress=nms, overlap=overlap, output=output
        ),
        per_class=per_class,
        as_json=as_json,
        accuracy=accuracy,
    )  # fmt: skip


def run(
    files: list[Path],
    data: Path,
    *,
    terminal: Terminal,
    loading: dict[str, Any],
    reading: flags.DataFlags,
    batch: int | None,
    options: secateur.TaskOptions,
    per_class: bool,
    as_json: bool,
    detectors: bool = False,
    accuracy: str | None = None,
) -> None:
    """Measure the models and print the result.

    Raises:
        DataError: the data does not fit, or a model is no detector where only these are wanted.
    """
    import secateur

    from ..core.ir.heads import box_heads, no_head

    networks = secateur.load_all(files, **loading)
    for network in networks:
        terminal.notes(network.notes)
        if detectors and not box_heads(network):
            raise no_head(network)

    def opened(network: Network, batch: int | None) -> Dataset:
        dataset = open_data(data, network, reading, batch=batch)
        assert dataset is not None
        return dataset

    task = None
    if accuracy is not None:
        chosen = [secateur.named_accuracy(network, accuracy) for network in networks]
        networks = [network for network, _ in chosen]
        task = chosen[0][1]
    found = quality.measure(networks, opened, batch, terminal, options, task)
    models = [network.name for network in networks]
    if isinstance(found, list):
        for measured in found:
            for problem in measured.skipped:
                terminal.warn(f"left out: {problem}")
        rows = quality.rows_of(
            [measured.result for measured in found],
            per_class=per_class,
            names=found[0].classes,
        )
        samples = found[0].result.samples
    else:
        models = [f"{models[1]} against {models[0]}"]
        rows, samples = quality.fidelity_rows(found), found.samples
    if as_json:
        quality.print_json(models, rows, samples, data)
    else:
        quality.show(terminal, models, rows, samples, data)
