"""Opening the data of a command with the preprocessing its flags ask for; `secateur data check`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .bundles import unbundled
from .options import DataFlags, numbers
from .terminal import Terminal

if TYPE_CHECKING:
    from ..core.data import Dataset
    from ..core.data.check import DataReport
    from ..core.ir.network import Network

app = typer.Typer(no_args_is_help=True, help="Look at data.")


def open_data(
    path: Path | None, network: Network, flags: DataFlags, *, batch: int | None = None
) -> Dataset | None:
    """Return the dataset at `path`, or None where none is given.

    Raises:
        DataError: it cannot be read or does not fit the network.
        typer.BadParameter: a flag has an impossible value.
    """
    if path is None:
        return None
    import secateur

    more = {"batch": batch} if batch is not None else {}
    return secateur.open_dataset(
        path,
        network,
        preprocess=replace(network.preprocess, **_changes(flags)),
        limit=flags.limit,
        root=flags.root,
        names=flags.names,
        ignore_label=flags.ignore_label,
        **more,
    )


def _changes(flags: DataFlags) -> dict[str, Any]:
    """Return the fields of :class:`Preprocess` that flags ask for.

    Raises:
        typer.BadParameter: a flag has an impossible value.
    """
    changes: dict[str, Any] = {}
    if flags.mean is not None:
        changes.update(mean=numbers(flags.mean, "--mean"), mean_file="", mean_image=None)
    if flags.mean_file is not None:
        changes.update(mean_file=str(flags.mean_file), mean_image=None)
    if flags.scale is not None:
        changes["scale"] = flags.scale
    if flags.channels is not None:
        if flags.channels not in ("bgr", "rgb", "gray"):
            raise typer.BadParameter("must be bgr, rgb or gray", param_hint="--channels")
        changes["channels"] = flags.channels
    if flags.letterbox is not None:
        changes.update(letterbox=flags.letterbox, crop=False, resize=())
    if flags.crop:
        changes.update(crop=True, letterbox=False, resize=())
    if flags.resize is not None:
        changes.update(crop=True, letterbox=False, resize=_sizes(flags.resize))
    return changes


def _sizes(text: str) -> tuple[int, ...]:
    """Return a short side, or height and width.

    Raises:
        typer.BadParameter: the text is neither.
    """
    parts = text.replace("x", ",").split(",")
    if len(parts) > 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"'{text}' is no SHORT_SIDE or H,W", param_hint="--resize")
    return tuple(int(part) for part in parts)


@app.callback()
def _group() -> None:
    """Look at data."""


@app.command()
@unbundled
def check(
    source: Annotated[Path, typer.Argument(help="Folder, list, annotations, database or archive.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[MODEL...]", help="The model it is for, where it holds arrays."),
    ] = None,
    root: options.Root = None,
    names: options.Names = None,
    as_json: options.AsJson = False,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Read all of the data and say what it holds and what is broken."""
    import secateur

    from ..core.data.check import check_data

    terminal = screen.terminal()
    network = secateur.load(*files) if files else None

    def opened(path: Path, network: Network) -> Dataset:
        return secateur.open_dataset(path, network, root=root, names=names)

    with terminal.bars() as progress:
        report = check_data(source, opened, network, progress=progress)
    if as_json:
        print(json.dumps(_as_data(report), indent=1, ensure_ascii=False))  # noqa: T201
    else:
        _print(terminal, report, all_problems=screen.verbose)
    if report.broken:
        raise typer.Exit(1)


def _as_data(report: DataReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "samples": report.samples,
        "labels": "target" if report.targets == "values" else report.targets or None,
        "sizes": [
            {"height": h, "width": w, "samples": n} for (h, w), n in sorted(report.sizes.items())
        ],
        "classes": {str(number): report.labels[number] for number in sorted(report.labels)},
        "without_objects": report.empty,
        "broken": report.broken,
        "problems": list(report.problems),
    }


def _print(terminal: Terminal, report: DataReport, *, all_problems: bool) -> None:
    kinds = {
        "label": "one class each", "objects": "objects in boxes", "pixels": "a class a pixel",
        "values": "values to compute", "": "none",
    }  # fmt: skip
    lines = [("Samples", f"{report.samples:,}"), ("Labels", kinds[report.targets])]
    if report.sizes:
        heights, widths = zip(*report.sizes, strict=True)
        alike = len(report.sizes) == 1
        lines.append(
            (
                "Size",
                f"{heights[0]}×{widths[0]}, all alike"
                if alike
                else f"{min(heights)}…{max(heights)} × {min(widths)}…{max(widths)} pixels",
            )
        )
    if report.labels:
        lowest, highest = min(report.labels), max(report.labels)
        lines.append(
            (
                "Classes",
                f"{len(report.labels)} of {lowest}…{highest}, {sum(report.labels.values()):,} "
                "labels",
            )
        )
    if report.empty:
        lines.append(("Empty", f"{report.empty} images without objects"))
    lines.append(("Broken", f"{report.broken}"))
    for name, text in lines:
        terminal.out.print(f"{name + ':':<10}{text}", markup=False)
    shown = report.problems if all_problems else report.problems[:10]
    for problem in shown:
        terminal.warn(problem)
    if report.broken > len(shown):
        terminal.note(f"and {report.broken - len(shown)} more (--verbose shows them)")
