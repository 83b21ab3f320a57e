"""`--report`: what commands came to, as a page to look at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from secateur import (
        DataOptions,
        Dataset,
        Examples,
        LayersTimed,
        Network,
        Progress,
        ReportFacts,
    )

    from .terminal import Terminal

__all__ = ["Report", "check", "command_line", "looked_at", "timed", "write"]

Report = Annotated[
    Path | None,
    Parameter(
        name="--report",
        metavar="PATH",
        help="Write also a page to look at and to hand on: one HTML file, or a folder for it. "
        "Needs the extra `report`.",
    ),
]


def check(report: Path | None) -> None:
    """Raise where a report that is asked for could not be written, before the work begins.

    Raises:
        UnsupportedError: the extra `report` is not installed.
        FormatError: the place is no place for an HTML file.
    """
    import secateur

    if report is not None:
        secateur.check_report(report)


def command_line() -> str:
    """Return what the user wrote."""
    return shlex.join(["secateur", *sys.argv[1:]])


def looked_at(
    report: Path | None,
    original: Network,
    compressed: Network,
    data: Dataset | None,
    reading: DataOptions,
    progress: Progress,
) -> Examples | None:
    """Return the samples in which two models disagree most; None where nobody asked for them.

    Raises:
        DataError: the data does not fit, or the file with the names of the classes is broken.
    """
    import secateur

    if report is None or data is None:
        return None
    names = secateur.class_names(data, reading)
    return secateur.find_examples(original, compressed, data, names=names, progress=progress)


def timed(
    report: Path | None, before: Network, after: Network | None, progress: Progress
) -> LayersTimed | None:
    """Return the times of the layers of one or two models; None where nobody asked for them."""
    import secateur

    return secateur.layer_times(before, after, progress=progress) if report is not None else None


def write(terminal: Terminal, report: Path | None, facts: ReportFacts) -> None:
    """Write a report that is asked for.

    Raises:
        FormatError: it cannot be written.
    """
    import secateur

    if report is not None:
        terminal.note(f"wrote {secateur.save_report(facts, report)}")
