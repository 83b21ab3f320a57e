"""Rounds of pruning kept in a folder: each in a folder of its own, which appears whole.

A round that is fine-tuned stands in a hidden folder until it is done: pruned, with checkpoints.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..core.cost.budgets import LATENCY
from ..core.cost.layer_times import LayerTimes, plain_times, times_of
from ..core.cost.measured_steps import measured_times
from ..core.coupling import find_groups
from ..core.data import Dataset
from ..core.data.arrays import AnyData, as_dataset
from ..core.data.part import MEASURED_EVERY, parted
from ..core.errors import DataError, FormatError, PlanError, located
from ..core.evaluation.fitted import fit_data
from ..core.evaluation.task import Task
from ..core.files import alone_in, json_bytes, made_folder, write_whole
from ..core.ir.network import Caution, Network
from ..core.options import options_of
from ..core.plan.files import load_plan
from ..core.plan.plan import Plan
from ..core.progress import Progress, silent
from ..core.pruning.iterate import Measured, check_rates, gate_of
from ..core.pruning.iterate import iterate as run
from ..core.pruning.options import IterateOptions
from ..core.pruning.result import PruneResult
from ..core.pruning.rounds import ROUNDS_FILE, Iteration, Round, folder_of
from ..core.training.framework import check_installed
from ..formats.saving import PLAN_NAME, check_target, reread, save
from .round_training import RoundTraining

__all__ = ["ROUND_FILE", "iterate", "load_round"]

ROUND_FILE = "round.json"
"""Name of what a round came to, beside its files."""

LATENCIES = "latencies.json"
"""Name of the measured times of the layers, for a budget of latency."""

ASIDE = ".round-"
"""Beginning of the names of folders that are not whole yet."""

WORK = ".work-"
"""Beginning of the names of folders with rounds that are pruned and being fine-tuned."""

PRUNED, TUNED = "pruned", "tuned"
"""Folders in the folder of such a round: the pruned model, and the one that is trained."""

_KEPT = tuple(f.name for f in fields(Round) if f.name != "passed")
"""What a round's file holds: all but what the gate of a later run may see otherwise."""

_LATER = {f.name: f.default for f in fields(Round) if f.default is not MISSING}
"""Fields that files of earlier versions may lack."""


def iterate(
    network: Network,
    data: AnyData,
    output: str | os.PathLike[str],
    options: IterateOptions | None = None,
    *,
    validation: AnyData | None = None,
    solver: str | os.PathLike[str] | None = None,
    restart: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Iteration:
    """Prune in rounds with a rising rate, fine-tune and measure each, stop where too much is lost.

    Every round has a folder of its own, `output`/round-01 and so on, with its files, its plan and
    its figures (round.json); `output`/rounds.json holds the figures of all. A round that is there
    already, of the same network, data and options, is not made again: a killed run goes on where
    it was, within the fine-tuning of a round from its last checkpoint on.

    Args:
        network: the original.
        data: samples for calibration, verification and training; without `validation` for
            measurements as well: where rounds are fine-tuned, one in ten is held out for that.
        output: folder.
        options: rates, limits on the loss, and how each round prunes and is fine-tuned. Latencies
            that a budget needs are measured once for all rounds.
        validation: samples that rounds are measured on. Nothing else is decided by them.
        solver: the file with the schedule of fine-tuning, for networks of Caffe.
        restart: forget the rounds that are there.
        progress: told how far the work is.
        settings: fields of :class:`IterateOptions`, instead of `options`.

    Raises:
        PlanError: options do not fit the network, nothing can be removed, or a rate is out of
            reach.
        DataError: the data does not fit, the folder holds rounds of something else, or another run
            is at work in it.
        FormatError: the folder cannot be written.
        UnsupportedError: rounds are to be fine-tuned, and PyTorch is not installed, or a layer
            cannot be trained.
        VerificationError: a dense network does not equal the masked one, or files the network.
    """
    data = as_dataset(data, network)
    validation = as_dataset(validation, network)
    options = options_of(IterateOptions, options, settings)
    if options.finetune is not None:
        check_installed()
        if solver is not None:
            options = replace(options, finetune=replace(options.finetune, own_solver=True))
    elif solver is not None:
        raise PlanError("a solver file is for rounds that are fine-tuned", option="solver")
    folder = Path(output)
    found = _found_data(network, data, validation, options)
    data = found.data
    gate_of(options).check(found.task)
    check_target(network, folder / "round")
    with made_folder(folder, FormatError), alone_in(folder):
        measured = options.budget == LATENCY and options.latencies is None
        if measured:
            known = None if restart else folder / LATENCIES
            options = replace(options, latencies=_latencies(network, known, progress))
        check_rates(network, find_groups(network), options, data)  # before rounds are forgotten
        training = _training(network, data, options, solver)
        with located(file=str(folder)):
            try:
                _clear(folder, everything=restart)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        if measured:
            assert options.latencies is not None, "they were measured"
            _write(folder / LATENCIES, plain_times(options.latencies))
        store = _Folder(folder, network, data, training, progress)
        came_to = run(
            network, data, options, store=store, validation=found.validation, progress=progress
        )
        came_to = replace(came_to, notes=found.notes)
        _write(folder / ROUNDS_FILE, came_to.to_data())
        return came_to


def load_round(
    network: Network, output: str | os.PathLike[str], entry: Round
) -> tuple[Network, Plan]:
    """Return the network of a round and what was removed from it, read from the round's files.

    Args:
        network: the original.
        output: the folder of all rounds.
        entry: the round.

    Raises:
        DataError, FormatError, PlanError: its files are not there, or broken.
    """
    folder = Path(output) / entry.folder
    content = _read(folder / ROUND_FILE)
    with located(file=str(folder / ROUND_FILE)):
        if not isinstance(content.get("files"), list):
            raise DataError("broken", hint="--restart starts anew")
    return _reread(network, folder, content), load_plan(folder / PLAN_NAME)


def _reread(network: Network, folder: Path, content: Mapping[str, Any]) -> Network:
    paths = {Path(name).suffix.lower(): folder / name for name in content["files"]}
    companions = [folder / name for name in content.get("companions", ())]
    return reread(network, paths, companions)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """Data that fits: what rounds are made by, and what they are measured on if not by that."""

    data: Dataset
    validation: Dataset | None
    task: Task
    notes: tuple[str, ...]


def _found_data(
    network: Network, data: Dataset, validation: Dataset | None, options: IterateOptions
) -> _Found:
    """Return the data that rounds are made by, and measured on.

    Raises:
        DataError: it does not fit.
    """
    asked = options.max_drop is not None
    if validation is not None:
        own = fit_data(network, data)
        fitting = fit_data(network, validation, options.task, asked=asked)
        return _Found(
            data=own.dataset, validation=fitting.dataset, task=fitting.task,
            notes=(*own.notes, *fitting.notes),
        )  # fmt: skip
    fitting = fit_data(network, data, options.task, asked=asked)
    data, notes, held_out = fitting.dataset, fitting.notes, None
    if options.finetune is not None:
        parts = parted(data, network)
        if parts is None:
            notes += (
                Caution(
                    f"{data.name}: {data.samples} samples are too few to hold some out: rounds are "
                    "measured on those that they are trained on (--val gives others)"
                ),
            )
        else:
            data, held_out = parts
            notes += (
                f"{data.name}: one sample in {MEASURED_EVERY} is held out: rounds are trained on "
                f"{data.samples} and measured on {held_out.samples} (--val gives others)",
            )
    return _Found(data=data, validation=held_out, task=fitting.task, notes=notes)


def _training(
    network: Network,
    data: Dataset,
    options: IterateOptions,
    solver: str | os.PathLike[str] | None,
) -> RoundTraining | None:
    """Return what fine-tunes rounds; None where nothing does.

    Raises:
        DataError, FormatError, PlanError, UnsupportedError: the network cannot be trained so.
    """
    if options.finetune is None:
        return None
    training = RoundTraining(
        network, data, options.finetune, None if solver is None else Path(solver)
    )
    training.check()
    return training


class _Folder:
    """Rounds in a folder."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        data: Dataset,
        training: RoundTraining | None,
        progress: Progress,
    ):
        self._folder = folder
        self._network = network
        self._data = data
        self._training = training
        self._settings = training.settings if training is not None else ""
        self._progress = progress

    def known(self, number: int, key: str) -> Round | None:
        """Return a round that is there.

        Raises:
            DataError: it is of something else, or broken.
        """
        return _known(self._folder / folder_of(number), key + self._settings)

    def network(self, number: int) -> Network:
        """Return the network of a round, read from its files."""
        folder = self._folder / folder_of(number)
        return self._reread(folder, _read(folder / ROUND_FILE))

    def plan(self, number: int) -> Plan:
        """Return the plan of a round, read from its file."""
        return load_plan(self._folder / folder_of(number) / PLAN_NAME)

    def keep(self, entry: Round, key: str, result: PruneResult) -> None:
        """Write a round aside, and give it its name once it is whole."""
        self._written(entry, key, result, self._folder / folder_of(entry.number), "")

    def begun(self, number: int, key: str) -> Round | None:
        """Return a round that is pruned and is to be fine-tuned.

        Raises:
            DataError: it is of something else, or broken.
        """
        return _known(self._folder / work_of(number), key + self._settings)

    def begin(self, entry: Round, key: str, result: PruneResult) -> None:
        """Write a round that is to be fine-tuned aside, and give it its name once it is whole."""
        self._written(entry, key, result, self._folder / work_of(entry.number), PRUNED)

    def tune(self, entry: Round, key: str, measured: Measured) -> Round:
        """Fine-tune a round that was begun, and give it its name once it is whole."""
        assert self._training is not None, "rounds are fine-tuned"
        work, final = (self._folder / name(entry.number) for name in (work_of, folder_of))
        content = _read(work / ROUND_FILE)
        pruned, tuned = work / PRUNED, work / TUNED
        plan = load_plan(pruned / PLAN_NAME)
        with located(file=str(final)):
            try:
                files = [pruned / name for name in content["files"]]
                trained = self._training(files, plan, tuned, self._progress)
                for name in (*content["companions"], PLAN_NAME):
                    shutil.copyfile(pruned / name, tuned / name)
                found = measured(self._reread(tuned, content), trained)
                names = {name: content[name] for name in ("files", "companions")}
                key += self._settings
                _write(tuned / ROUND_FILE, {"key": key, **names, **_figures(found)})
                tuned.replace(final)
                shutil.rmtree(work)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        return found

    def _reread(self, folder: Path, content: Mapping[str, Any]) -> Network:
        return _reread(self._network, folder, content)

    def _written(
        self, entry: Round, key: str, result: PruneResult, final: Path, inner: str
    ) -> None:
        """Write figures to a folder, and a model to a folder in it, or to itself."""
        aside = self._folder / f"{ASIDE}{os.getpid()}"
        with located(file=str(final)):
            try:
                (aside / inner).mkdir(parents=True)
                saved = save(
                    result,
                    aside / inner,
                    data=self._data,
                    progress=self._progress,
                )
                names = {
                    "files": [path.name for path in saved.paths],
                    "companions": [path.name for path in saved.companions],
                }
                key += self._settings
                _write(aside / ROUND_FILE, {"key": key, **names, **_figures(entry)})
                aside.replace(final)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
            finally:
                shutil.rmtree(aside, ignore_errors=True)


def work_of(number: int) -> str:
    """Return the name of the folder of a round that is being fine-tuned."""
    return f"{WORK}{number:02d}"


def _figures(entry: Round) -> dict[str, Any]:
    """Return what a round's file says of it."""
    return {name: getattr(entry, name) for name in _KEPT}


def _known(folder: Path, key: str) -> Round | None:
    """Return the round in a folder; None where there is no folder.

    Raises:
        DataError: it is of something else, or broken.
    """
    if not folder.exists():
        return None
    path = folder / ROUND_FILE
    with located(file=str(path)):
        content = {**_LATER, **_read(path)}
        if content.get("key") != key:
            raise DataError(
                "belongs to another model, other data or other settings",
                hint="give another folder, or --restart to start anew",
            )
        try:
            found = {name: content[name] for name in _KEPT}
            texts = {name: tuple(found[name]) for name in ("notes", "training_notes")}
            return Round(**{**found, **texts})
        except KeyError as error:
            raise DataError("broken", hint="--restart starts anew") from error


def _clear(folder: Path, *, everything: bool) -> None:
    """Take away what a killed run left half done, or all rounds."""
    for path in sorted(folder.glob(f"{ASIDE}*")):
        shutil.rmtree(path)
    for path in sorted(folder.glob(f"{WORK}[0-9]*")):
        done = folder / path.name.replace(WORK, "round-")
        if everything or done.exists() or not (path / ROUND_FILE).is_file():
            shutil.rmtree(path)
    if not everything:
        return
    for path in sorted(folder.glob("round-[0-9]*")):
        if (path / ROUND_FILE).is_file():
            shutil.rmtree(path)
    for name in (ROUNDS_FILE, LATENCIES):
        (folder / name).unlink(missing_ok=True)


def _latencies(network: Network, path: Path | None, progress: Progress) -> LayerTimes:
    """Return the times of the layers, those that the first run measured if there is their file."""
    if path is None or not path.exists():
        return measured_times(network, progress=progress)
    with located(file=str(path)):
        try:
            return times_of(_read(path))
        except (TypeError, ValueError) as error:
            raise DataError("broken", hint="--restart starts anew") from error


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
    write_whole(path, json_bytes(content), error=FormatError)
