"""Rounds of pruning kept in a folder: each in a folder of its own, which appears whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..core.allocation import Override
from ..core.cost.budget import LATENCY, OPERATIONS
from ..core.cost.layer_latency import layer_latencies
from ..core.data import Dataset
from ..core.errors import DataError, FormatError, located
from ..core.files import alone_in, write_whole
from ..core.ir.network import Network
from ..core.plan.limits import NO_LIMITS, Limits
from ..core.progress import Progress, silent
from ..core.pruning.iterate import SUMMARY, Gate, Iteration, Round, Settings, check_rates, folder_of
from ..core.pruning.iterate import iterate as run
from ..core.pruning.prune import AUTOMATIC
from ..core.repair import Repairs
from ..core.sensitivity.result import Analysis
from ..formats.saving import reread, save

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
    *,
    rates: Sequence[float],
    previous: bool = False,
    max_drop: float | None = None,
    max_divergence: float | None = None,
    criterion: str = AUTOMATIC,
    allocation: str = AUTOMATIC,
    analysis: Analysis | None = None,
    budget: str = OPERATIONS,
    latencies: Mapping[str, float] | None = None,
    overrides: Mapping[str, Override] | None = None,
    repair: Repairs = "auto",
    exclude: Sequence[str] = (),
    limits: Limits = NO_LIMITS,
    companions: Sequence[str | os.PathLike[str]] = (),
    restart: bool = False,
    progress: Progress = silent,
) -> Iteration:
    """Prune in rounds with a rising rate, measure each, and stop where too much is lost.

    Every round stands in `output`/round-01, … with its files, its plan and its figures
    (round.json); `output`/rounds.json holds them all. Rounds that are there already, of the same
    network, data and settings, are not made again: a killed run goes on where it was.

    Args:
        network: the original.
        data: for calibration, proofs and measurement.
        output: folder.
        rates: rising fractions of the original's operations, or of another budget, to remove.
        previous: prune what the round before left, not the original. The plan of a round is then
            one of the network of the round before.
        max_drop: points of a hundred of the metric that a round may lose; the first that loses
            more is the last.
        max_divergence: the same for data without labels: KL divergence in nats for classifiers,
            relative output error for others.
        criterion: as for :func:`~..core.prune.prune`, like all that follow but for the next two.
        allocation: likewise.
        analysis: likewise.
        budget: likewise.
        latencies: likewise; where they are measured, that happens once for all rounds.
        overrides: likewise.
        repair: likewise.
        exclude: likewise.
        limits: likewise.
        companions: further descriptions of the network, as for :func:`.saving.save`.
        restart: forget what is there.
        progress: told how far the work is.

    Raises:
        PlanError: rates or settings do not fit, or nothing can be removed.
        DataError: the data does not fit, the folder holds rounds of something else, or another run
            is at work in it.
        FormatError: the folder cannot be written.
        VerificationError: a dense network does not equal the masked one, or files the network.
    """
    folder = Path(output)
    gate = Gate(drop=max_drop, divergence=max_divergence)
    gate.check(data)
    rates = check_rates(rates)
    with _made(folder), alone_in(folder):
        with located(file=str(folder)):
            try:
                _clear(folder, everything=restart)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        if budget == LATENCY and latencies is None:
            latencies = _latencies(network, folder / LATENCIES, progress)
        settings = Settings(
            criterion=criterion, allocation=allocation, analysis=analysis, budget=budget,
            latencies=latencies, overrides=overrides or {}, repair=repair, exclude=tuple(exclude),
            limits=limits, previous=previous,
        )  # fmt: skip
        found = run(
            network,
            data,
            rates=rates,
            store=_Folder(folder, network, data, companions, progress),
            settings=settings,
            gate=gate,
            progress=progress,
        )
        _write(folder / SUMMARY, found.to_data())
        return found


class _Folder:
    """Rounds in a folder."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        data: Dataset,
        companions: Sequence[str | os.PathLike[str]],
        progress: Progress,
    ):
        self._folder = folder
        self._network = network
        self._data = data
        self._companions = companions
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
                return Round(**{name: content[name] for name in _KEPT})
            except KeyError as error:
                raise DataError("broken", hint="--restart starts anew") from error

    def network(self, number: int) -> Network:
        """Return the network of a round, read from its files."""
        folder = self._folder / folder_of(number)
        names = _read(folder / ROUND_FILE)["files"]
        return reread(self._network, {Path(name).suffix.lower(): folder / name for name in names})

    def keep(self, entry: Round, key: str, network: Network) -> None:
        """Write a round aside, and give it its name once it is whole."""
        final = self._folder / folder_of(entry.number)
        aside = self._folder / f"{ASIDE}{os.getpid()}"
        with located(file=str(final)):
            try:
                aside.mkdir(parents=True)
                saved = save(
                    network,
                    aside,
                    data=self._data,
                    companions=self._companions,
                    progress=self._progress,
                )
                names = [path.name for path in saved.paths]
                figures = {name: getattr(entry, name) for name in _KEPT}
                _write(aside / ROUND_FILE, {"key": key, "files": names, **figures})
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
    for name in (SUMMARY, LATENCIES):
        (folder / name).unlink(missing_ok=True)


def _latencies(network: Network, path: Path, progress: Progress) -> Mapping[str, float]:
    """Return the times of the layers, measured in the first run."""
    if not path.exists():
        times = layer_latencies(network, progress=progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, times)
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


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; the file is whole or not there.

    Raises:
        FormatError: it cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode(), error=FormatError)
