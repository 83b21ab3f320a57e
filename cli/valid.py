"""`secateur valid`: measure one model or several on labelled data, or two against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import DataOptions, EvaluateOptions, LoadOptions

from . import quality
from .common import AsJson
from .device import runs_networks
from .flags import Fields, Panel, with_flags
from .opened import prepared
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from secateur import Dataset, Network

    from .terminal import Terminal

Models = Annotated[
    Path, Parameter(name="FILE", required=True, help="The files of one model or several.")
]
Data = Annotated[
    Path,
    Parameter(name=("--data", "--val"), help="Labelled data (docs/data.md).", group=Panel.DATA),
]


@with_flags
@runs_networks
def command(
    *files: Models,
    data: Data,
    options: EvaluateOptions,
    per_class: Annotated[bool, Parameter(help="Print one line per class, too.")] = False,
    accuracy: Annotated[
        str | None,
        Parameter(metavar="TOP", help="Caffe: measure what this Accuracy layer counts."),
    ] = None,
    as_json: AsJson = False,
    reading: DataOptions,
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn"))],
    screen: ScreenOptions,
) -> None:
    """Measure models on labelled data; without labels, compare the second with the first."""
    run(
        files,
        data,
        terminal=screen.terminal(),
        loading=model,
        reading=reading,
        options=options,
        per_class=per_class,
        as_json=as_json,
        accuracy=accuracy,
    )


def run(
    files: Sequence[Path],
    data: Path,
    *,
    terminal: Terminal,
    loading: LoadOptions,
    reading: DataOptions,
    options: EvaluateOptions,
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

    networks = secateur.load_all(files, loading)
    terminal.tell(secateur.made_cautions(data))
    for network in networks:
        terminal.notes(network.notes)
        if detectors:
            secateur.check_detector(network)
    made = [prepared(terminal, network, data, reading, task=options.task) for network in networks]
    networks = [network for network, _ in made]
    reading = made[0][1]

    def opened(network: Network, batch: int | None) -> Dataset:
        return secateur.open_dataset(data, network, replace(reading, batch=batch))

    if accuracy is not None:
        chosen = [secateur.named_accuracy(network, accuracy) for network in networks]
        networks = [network for network, _ in chosen]
        options = replace(options, task=chosen[0][1])
    found = quality.measure(networks, opened, reading.batch, terminal, options)
    models = quality.titles(networks)
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
        print_json(quality.as_data(models, rows, samples, data))
    else:
        quality.show(terminal, models, rows, samples, data)
