"""Rounds of pruning kept in a folder: each in a folder of its own, which appears whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..core.cost.budget import LATENCY
from ..core.cost.layer_latency import layer_latencies
from ..core.coupling import find_groups
from ..core.data import Dataset
from ..core.errors import DataError, FormatError, located
from ..core.evaluation.fitted import fit_data
from ..core.files import alone_in, write_whole
from ..core.ir.network import Network
from ..core.options import options_of
from ..core.progress import Progress, silent
from ..core.pruning.iterate import (
    ROUNDS_FILE,
    Iteration,
    Round,
    check_rates,
    folder_of,
    gate_of,
)
from ..core.pruning.iterate import iterate as run
from ..core.pruning.options import IterateOptions
from ..core.pruning.result import PruneResult
from ..formats.saving import check_target, reread, save

__all__ = ["ROUND_FILE", "iterate"]

ROUND_FILE = "round.json"
"""Name of what a round came to, beside its files."""

LATENCIES = "latencies.json"
"""Name of the measured times of the layers, for a budget of latency."""

ASIDE = ".round-"
"""Beginning of the names of folders that are not whole yet."""

_KEPT = tuple(f.name for f in fields(Round) if f.name != "passed")
"""What a round's file holds: all but what the gate of a later run may see otherwise."""


def iterate(
    network: Network,
    data: Dataset,
    output: str | os.PathLike[str],
    options: IterateOptions | None = None,
    *,
    restart: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Iteration:
    """Prune in rounds with a rising rate, measure each, and stop where too much is lost.

    Every round has a folder of its own, `output`/round-01 and so on, with its files, its plan and
    its figures (round.json); `output`/rounds.json holds the figures of all. A round that is there
    already, of the same network, data and options, is not made again: a killed run goes on where
    it was.

    Args:
        network: the original.
        data: samples for calibration, verification and measurement.
        output: folder.
        options: rates, limits on the loss, and how each round prunes. Latencies that a budget
            needs are measured once for all rounds.
        restart: forget the rounds that are there.
        progress: told how far the work is.
        settings: fields of :class:`IterateOptions`, instead of `options`.

    Raises:
        PlanError: options do not fit the network, nothing can be removed, or a rate is out of
            reach.
        DataError: the data does not fit, the folder holds rounds of something else, or another run
            is at work in it.
        FormatError: the folder cannot be written.
        VerificationError: a dense network does not equal the masked one, or files the network.
    """
    options = options_of(IterateOptions, options, settings)
    folder = Path(output)
    fitting = fit_data(network, data, options.task, asked=options.max_drop is not None)
    data = fitting.dataset
    gate_of(options).check(fitting.task)
    check_target(network, folder / "round")
    with _made(folder), alone_in(folder):
        measured = options.budget == LATENCY and options.latencies is None
        if measured:
            known = None if restart else folder / LATENCIES
            options = replace(options, latencies=_latencies(network, known, progress))
        check_rates(network, find_groups(network), options, data)  # before rounds are forgotten
        with located(file=str(folder)):
            try:
                _clear(folder, everything=restart)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        if measured:
            _write(folder / LATENCIES, options.latencies)
        store = _Folder(folder, network, data, progress)
        found = run(network, data, options, store=store, progress=progress)
        found = replace(found, notes=fitting.notes)
        _write(folder / ROUNDS_FILE, found.to_data())
        return found


class _Folder:
    """Rounds in a folder."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        data: Dataset,
        progress: Progress,
    ):
        self._folder = folder
        self._network = network
        self._data = data
        self._progress = progress

    def known(self, number: int, key: str) -> Round | None:
        """Return a round that is there.

        Raises:
            DataError: it is of something else, or broken.
        """
        path = self._folder / folder_of(number) / ROUND_FILE
        if not path.parent.exists():
            return None
        with located(file=str(path)):
            content = _read(path)
            if content.get("key") != key:
                raise DataError(
                    "belongs to another model, other data or other settings",
                    hint="give another folder, or --restart to start anew",
                )
            try:
                found = {name: content[name] for name in _KEPT}
                return Round(**{**found, "notes": tuple(found["notes"])})
            except KeyError as error:
                raise DataError("broken", hint="--restart starts anew") from error

    def network(self, number: int) -> Network:
        """Return the network of a round, read from its files."""
        folder = self._folder / folder_of(number)
        content = _read(folder / ROUND_FILE)
        paths = {Path(name).suffix.lower(): folder / name for name in content["files"]}
        companions = [folder / name for name in content.get("companions", ())]
        return reread(self._network, paths, companions)

    def keep(self, entry: Round, key: str, result: PruneResult) -> None:
        """Write a round aside, and give it its name once it is whole."""
        final = self._folder / folder_of(entry.number)
        aside = self._folder / f"{ASIDE}{os.getpid()}"
        with located(file=str(final)):
            try:
                aside.mkdir(parents=True)
                saved = save(
                    result,
                    aside,
                    data=self._data,
                    progress=self._progress,
                )
                names = {
                    "files": [path.name for path in saved.paths],
                    "companions": [path.name for path in saved.companions],
                }
                figures = {name: getattr(entry, name) for name in _KEPT}
                _write(aside / ROUND_FILE, {"key": key, **names, **figures})
                aside.replace(final)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
            finally:
                shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and take it away again where nothing came to stand in it."""
    new = not folder.exists()
    with located(file=str(folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()


def _clear(folder: Path, *, everything: bool) -> None:
    """Take away what a killed run left half done, or all rounds."""
    for path in sorted(folder.glob(f"{ASIDE}*")):
        shutil.rmtree(path)
    if not everything:
        return
    for path in sorted(folder.glob("round-[0-9]*")):
        if (path / ROUND_FILE).is_file():
            shutil.rmtree(path)
    for name in (ROUNDS_FILE, LATENCIES):
        (folder / name).unlink(missing_ok=True)


def _latencies(network: Network, path: Path | None, progress: Progress) -> Mapping[str, float]:
    """Return the times of the layers, those that the first run measured if there is their file."""
    if path is None or not path.exists():
        return layer_latencies(network, progress=progress)
    found: dict[str, float] = _read(path)
    return found


def _read(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds.

    Raises:
        DataError: it cannot be read or is no JSON object.
    """
    with located(file=str(path)):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError("cannot be read", hint="--restart starts anew") from error
        if not isinstance(content, dict):
            raise DataError("broken", hint="--restart starts anew")
        return content


def _write(path: Path, content: Mapping[str, Any] | None) -> None:
    """Write JSON; the file is whole or not there.

    Raises:
        FormatError: it cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode(), error=FormatError)
