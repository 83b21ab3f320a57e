"""`secateur data check`: read all of the data and say what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from secateur import DataOptions

from .common import AsJson
from .flags import Fields, Panel, with_flags
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from secateur import DataReport, Dataset, Network

    from .terminal import Terminal

app = App(name="data", help="Check data before long work.", group_parameters=Panel.OPTIONS)


@app.command(usage="Usage: secateur data check [OPTIONS] SOURCE [MODEL...]")
@with_flags
def check(
    source: Annotated[
        Path,
        Parameter(name="SOURCE", help="Folder, list, annotations, database or archive."),
    ],
    /,
    *files: Annotated[
        Path,
        Parameter(name="MODEL", help="Files of the model it is for, if it holds arrays."),
    ],
    reading: Annotated[DataOptions, Fields(only=("root", "names"))],
    as_json: AsJson = False,
    screen: ScreenOptions,
) -> int:
    """Read all of the data and say what it holds and what is broken."""
    import secateur

    terminal = screen.terminal()
    network = secateur.load(*files) if files else None

    def opened(path: Path, network: Network) -> Dataset:
        return secateur.open_dataset(path, network, reading)

    with terminal.bars() as progress:
        report = secateur.check_data(source, opened, network, progress=progress)
    if as_json:
        print_json(_as_data(report))
    else:
        _print(terminal, report, all_problems=screen.verbose)
    return 1 if report.broken else 0


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
