"""What `valid` and `map` share: measuring models by data, and showing the results side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur import Dataset, EvaluateOptions, Fidelity, Network, Result

    from .terminal import Terminal

ENOUGH = 128
"""Samples from which on it pays to measure which batch is fastest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A model and its result."""

    name: str
    result: Result
    skipped: tuple[str, ...]
    classes: tuple[str, ...]
    """Names of the classes, where the data tells them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A figure by name, its value for every model, and how to write it."""

    name: str
    key: str
    values: tuple[float, ...]
    digits: int = 2
    percent: bool = True

    def text(self, value: float) -> str:
        """Return a value as people read it."""
        if math.isnan(value):
            return "-"
        if self.percent:
            return f"{100 * value:.{self.digits}f} %"
        return f"{value:.{self.digits}f}"


def measure(
    networks: Sequence[Network],
    opened: Callable[[Network, int | None], Dataset],
    batch: int | None,
    terminal: Terminal,
    options: EvaluateOptions,
) -> list[Measured] | Fidelity:
    """Return the result of every model; without labels, how true the second is to the first.

    Args:
        networks: the models.
        opened: opens the data for a network in batches of some size, or of the usual one.
        batch: samples a batch; None for the fastest.
        terminal: where progress is shown.
        options: what is measured.
        task: what is measured, if not what the data calls for.

    Raises:
        DataError: the data does not fit; or there are no labels that fit, and not two models.
    """
    import secateur

    two = len(networks) == 2
    fits = [  # what does not fit is told before the first one is measured
        secateur.fit_data(network, opened(network, batch), options.task, options, asked=not two)
        for network in networks
    ]
    left_out = [fit.left_out for fit in fits if fit.left_out]
    for fit in fits:
        terminal.tell(fit.inputs)
    measured = []
    with terminal.bars() as progress:
        if left_out:
            terminal.warn(left_out[0])
            plain = secateur.fit_data(networks[0], fits[0].dataset).dataset
            return secateur.fidelity(networks[0], networks[1], plain, progress=progress)
        for network in networks:
            dataset = opened(network, batch)
            if batch is None and dataset.samples >= ENOUGH:
                dataset = opened(network, secateur.best_batch(network, dataset.samples))
            found = secateur.find_task(network, dataset, options.task, options)
            if found.needs_original and len(networks) == 2:
                return secateur.fidelity(networks[0], networks[1], dataset, progress=progress)
            asked = None if found.needs_original else found  # without any, it says what is missing
            result = secateur.evaluate(
                network, dataset, replace(options, task=asked), progress=progress
            )
            measured.append(
                Measured(
                    name=network.name,
                    result=result,
                    skipped=tuple(dataset.problems),
                    classes=tuple(getattr(dataset, "classes", ())),
                )
            )
    return measured


def rows_of(results: Sequence[Result], *, per_class: bool, names: Sequence[str] = ()) -> list[Row]:
    """Return the figures of results of one kind."""
    from secateur import Accuracy, DetectionResult, Pixels, Values

    first = results[0]
    if isinstance(first, Accuracy):
        made = _of_classes([r for r in results if isinstance(r, Accuracy)])
    elif isinstance(first, DetectionResult):
        made = _of_objects([r for r in results if isinstance(r, DetectionResult)])
    elif isinstance(first, Pixels):
        pixels = [r for r in results if isinstance(r, Pixels)]
        made = [
            Row(name="Mean IoU", key="mean_iou", values=tuple(r.value for r in pixels)),
            Row(name="Pixels right", key="accuracy", values=tuple(r.accuracy for r in pixels)),
        ]
    elif isinstance(first, Values):
        values = [r for r in results if isinstance(r, Values)]
        made = [
            Row(name="Mean squared error", key="mse", values=tuple(r.mse for r in values),
                digits=6, percent=False),
            Row(name="PSNR (dB)", key="psnr", values=tuple(r.psnr for r in values),
                percent=False),
            Row(name="Explained variance", key="explained", values=tuple(r.value for r in values)),
        ]  # fmt: skip
    else:
        made = [Row(name=first.metric, key="value", values=tuple(r.value for r in results),
                    digits=4, percent=False)]  # fmt: skip
    return made + (_class_rows(results, names) if per_class else [])


def _of_classes(results: Sequence[Any]) -> list[Row]:
    made = [
        Row(name=f"Top-{k}", key=f"top_{k}", values=tuple(r.top_value(k) for r in results))
        for k in sorted(results[0].top)
        if all(k in r.top for r in results)
    ]
    loss = tuple(r.loss for r in results)
    return [*made, Row(name="Loss", key="loss", values=loss, digits=4, percent=False)]


def _of_objects(results: Sequence[Any]) -> list[Row]:
    at = f"{results[0].overlap:g}"
    figures = (
        (f"mAP@{at}", "map", "map_area"),
        (f"mAP@{at}, 11 points", "map_11", "map_11"),
        ("COCO AP 0.5:0.95", "coco", "coco"),
        ("COCO AP 0.5", "coco_50", "coco_50"),
        ("COCO AP 0.75", "coco_75", "coco_75"),
    )
    return [
        Row(name=name, key=key, values=tuple(getattr(r, attribute) for r in results))
        for name, key, attribute in figures
    ]


def _class_rows(results: Sequence[Any], names: Sequence[str]) -> list[Row]:
    numbers = sorted({n for r in results for n in getattr(r, "per_class", {})})
    made = []
    for number in numbers:
        values = []
        for result in results:
            value = result.per_class.get(number, math.nan)
            values.append(value[0] / value[1] if isinstance(value, tuple) else value)
        name = names[number] if number < len(names) else f"class {number}"
        made.append(Row(name=f"  {name}", key=f"class_{number}", values=tuple(values)))
    return made


def titles(networks: Sequence[Network]) -> list[str]:
    """Return names that tell models apart: with the file where two have the same name.

    Of files with the same name, the folders are told, too.
    """
    names = [network.name for network in networks]
    files = [list(map(str, network.source.paths.values())) if network.source else []
             for network in networks]  # fmt: skip
    found = []
    for place, (name, own) in enumerate(zip(names, files, strict=True)):
        others = [files[k] for k, other in enumerate(names) if other == name and k != place]
        apart = [path for path in own if not any(path in other for other in others)]
        if not others:
            found.append(name)
        elif apart:
            found.append(f"{name} ({_short(apart[0], [p for other in others for p in other])})")
        else:  # the very same files
            found.append(f"{name} (number {place + 1})")
    return found


def _short(path: str, others: Sequence[str]) -> str:
    """Return the end of a path by which it differs from others."""
    parts = Path(path).parts
    for count in range(1, len(parts)):
        end = Path(*parts[-count:])
        if not any(Path(other).parts[-count:] == end.parts for other in others):
            return str(end)
    return path


def fidelity_rows(found: Fidelity) -> list[Row]:
    """Return the figures of a comparison without labels."""
    made = []
    if found.agreement is not None:
        made.append(Row(name="Top-1 agreement", key="agreement", values=(found.agreement,)))
    if found.divergence is not None:
        made.append(Row(name="KL divergence (nats)", key="divergence",
                        values=(found.divergence,), digits=6, percent=False))  # fmt: skip
    made.append(Row(name="Cosine", key="cosine", values=(found.cosine,), digits=6, percent=False))
    made.append(
        Row(name="Relative error", key="error", values=(found.error,), digits=6, percent=False)
    )
    if found.detections is not None:
        made.append(
            Row(name="mAP@0.5 against the first model's detections", key="map",
                values=(found.detections.value,))
        )  # fmt: skip
    return made


def show(
    terminal: Terminal, models: Sequence[str], rows: Sequence[Row], samples: int, data: Path
) -> None:
    """Print a table with a column a model."""
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("Item", overflow="fold")
    for name in models:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(row.name, *(row.text(value) for value in row.values))
    terminal.out.print(table)
    terminal.note(f"{samples} samples of {data}")


def as_data(models: Sequence[str], rows: Sequence[Row], samples: int, data: Path) -> dict[str, Any]:
    """Return figures as plain values, one mapping a model; what is not a number is None."""
    return {
        "data": str(data),
        "samples": samples,
        "models": [
            {
                "name": name,
                **{
                    row.key: None if not math.isfinite(row.values[place]) else row.values[place]
                    for row in rows
                },
            }
            for place, name in enumerate(models)
        ],
    }
