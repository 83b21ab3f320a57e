"""`secateur latency`: how long models take, engine by engine, and layers to time elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateur import LoadOptions

from . import words
from .common import AsJson
from .flags import Fields, with_flags
from .output import print_json
from .screen import ScreenOptions
from .usage import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secateur import Measured, Network, Timing

    from .terminal import Terminal


SECONDS = 2.0
"""For about how long an engine is timed where nobody says."""


@with_flags
def command(
    *files: Annotated[
        Path,
        Parameter(
            name="FILE",
            required=True,
            help="The files of one or more models; the others are compared with the first.",
        ),
    ],
    engines: Annotated[
        str | None,
        Parameter(
            metavar="NAME,NAME…|help",
            help="Engines to time on. If not given: all that are installed.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        Parameter(
            metavar="N",
            help="Threads of a run, each on a core of its own. If not given: all cores.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        Parameter(metavar="S", help="For about how long each engine is timed. If not given: 2."),
    ] = None,
    export: Annotated[
        Path | None,
        Parameter(
            metavar="FOLDER",
            help="Instead of timing: write the layers at several numbers of channels, and a "
            "program that times them on another machine, to this new folder.",
        ),
    ] = None,
    as_json: AsJson = False,
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn"))],
    screen: ScreenOptions,
) -> int:
    """Time models on the engines that are installed, in turn, or export their layers."""
    import secateur

    terminal = screen.terminal()
    if seconds is not None and not 0 < seconds <= 3600:
        raise UsageError(f"must be over 0 and at most 3600, got {seconds:g}", flag="--seconds")
    if threads is not None and threads < 1:
        raise UsageError(f"must be at least 1, got {threads}", flag="--threads")
    if export is not None:
        timing = {"--engines": engines, "--threads": threads, "--seconds": seconds}
        _check_export({**timing, "--json": as_json or None})
    networks = secateur.load_all(files, model)
    for network in networks:
        terminal.notes(network.notes)
    if export is not None:
        _export(terminal, networks, export)
        return 0
    stopwatches = [secateur.find_engine(name, threads) for name in _names(engines)]
    found: list[Measured] = []
    with terminal.bars() as progress:
        found += [
            one(networks, seconds=seconds or SECONDS, progress=progress) for one in stopwatches
        ]
    if as_json:
        names = _labels(networks)
        print_json([_as_data(one, names) for one in found])
    else:
        _print(terminal, found, networks)
    for measured in found:
        for note in measured.notes:
            terminal.warn(note)
    return 0 if any(timing for measured in found for timing in measured.timings) else 1


def _names(engines: str | None) -> tuple[str, ...]:
    """Return the engines to time on."""
    import secateur

    if engines is None:
        return tuple(name for name, one in secateur.ENGINES.items() if not one.missing())
    names = tuple(dict.fromkeys(name.strip() for name in engines.split(",") if name.strip()))
    if not names:
        raise UsageError("names no engine", flag="--engines")
    return names


def _check_export(given: Mapping[str, object]) -> None:
    """Raise where an export is asked for together with what belongs to timing.

    Args:
        given: flag → its value; None where it is not given.

    Raises:
        UsageError: that is so.
    """
    for flag, value in given.items():
        if value is not None:
            raise UsageError("--export times nothing, and prints no figures", flag=flag)


def _export(terminal: Terminal, networks: Sequence[Network], folder: Path) -> None:
    import secateur

    if len(networks) != 1:
        raise UsageError(f"layers of one model are exported, got {len(networks)}", flag="--export")
    with terminal.bars() as progress:
        exported = secateur.export_layers(networks[0], folder, progress)
    terminal.note(
        f"wrote {folder}: {exported.layers} layers at several numbers of channels in "
        f"{exported.files} files ({words.size(exported.size)})"
    )
    terminal.note(
        f"next: run {exported.program.name} of the folder where the model is to run, then "
        "secateur prune … --budget latency --latencies times.csv"
    )


def _labels(networks: Sequence[Network]) -> list[str]:
    """Return a name for each model: that of the network, or its file where others share it."""
    names = [network.name for network in networks]
    found = []
    for network, name in zip(networks, names, strict=True):
        paths = list(network.source.paths.values()) if network.source is not None else []
        found.append(str(paths[0]) if names.count(name) > 1 and paths else name)
    return found


def _as_data(measured: Measured, names: Sequence[str]) -> dict[str, Any]:
    first = measured.timings[0]
    models = []
    for name, timing in zip(names, measured.timings, strict=True):
        entry: dict[str, Any] = {"name": name, "milliseconds": None}
        if timing is not None:
            entry = {"name": name, "milliseconds": timing.median, "least": timing.least}
            if first is not None and timing is not first:
                entry["change"] = list(timing.since(first))
        models.append(entry)
    return {
        "engine": measured.engine,
        "version": measured.version,
        "models": models,
        "notes": list(measured.notes),
    }


def _print(terminal: Terminal, found: Sequence[Measured], networks: Sequence[Network]) -> None:
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("Engine", overflow="fold")
    table.add_column("Model", overflow="fold")
    for head in ("Median", "Least", "Change, 95 % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    for measured in found:
        first = measured.timings[0]
        engine = f"{measured.engine} {measured.version}".strip()
        for name, timing in zip(_labels(networks), measured.timings, strict=True):
            if timing is None:
                row = ["–", "–", ""]
            else:
                row = [_time(timing.median), _time(timing.least), _told(first, timing)]
            table.add_row(engine, name, *row)
            engine = ""
    terminal.out.print(table)


def _told(first: Timing | None, timing: Timing) -> str:
    """Return between which changes a model lies, against the first one."""
    if first is None or timing is first:
        return ""
    low, high = timing.since(first)
    text = f"{words.percent(low)} to {words.percent(high)}"
    return f"{text} (unclear)" if low <= 0.0 <= high else text


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"
