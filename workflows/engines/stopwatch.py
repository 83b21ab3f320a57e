"""Timing networks on an engine: in turn, in one process, as files that the engine reads."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.cost.latency import LOCAL, Measured, Timing, by_network, interleaved, sessions_for
from ...core.data import SyntheticDataset
from ...core.data.base import fixed_batch
from ...core.engine.placement import on_processor
from ...core.engine.session import Session
from ...core.errors import PlanError, SecateurError, UnsupportedError
from ...core.ir.footprint import peak_bytes
from ...core.ir.network import Network
from ...core.ir.windows import restored
from ...core.progress import Progress, detailed, silent
from ...core.verify.small_input import MEMORY
from ...core.words import size_text
from ...formats.saving import written_for
from .arrays import load_arrays, save_arrays
from .process import EngineProcess
from .registry import ENGINES, Engine

__all__ = ["EngineStopwatch", "find_engine"]

APART = 0.01
"""Largest difference of an output, relative to its largest value, of an engine that computes the
same network. Rounding is below it, also of engines that compute in blocks."""


@dataclass(frozen=True)
class EngineStopwatch:
    """Times networks on one engine.

    Args:
        engine: the engine.
        threads: of a run; None for all cores of this process.
    """

    engine: Engine
    threads: int | None = None

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self.engine.name

    def recorded(self) -> dict[str, str | int]:
        """Return what it is, as plain values."""
        threads = {"threads": self.threads} if self.threads is not None else {}
        return {"name": self.name, **threads}

    def __call__(
        self, networks: Sequence[Network], *, seconds: float = 2.0, progress: Progress = silent
    ) -> Measured:
        """Return how long each network takes for one sample, and what could not be taken.

        The sessions of all networks take turns in one process of the engine. Where it ends over a
        network, another one times the rest.

        Args:
            networks: the networks.
            seconds: for about how long all of them together are timed.
            progress: reports every round.
        """
        missing = self.engine.missing()
        if missing:
            note = f"{self.name}: not installed (pip install {' '.join(missing)})"
            return Measured(engine=self.name, timings=(None,) * len(networks), notes=(note,))
        said = _Said(self.name, networks)
        while len(said.refused) < len(networks):
            with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
                try:
                    with EngineProcess(self.name, self.threads) as process:
                        said.version = process.version
                        own = _Timing(self, process, networks, Path(folder), said, progress)
                        return said.measured(own.timed(seconds))
                except _Ended as ended:  # once more, without the network that ended it
                    said.refused[ended.place] = ended.message
                except UnsupportedError as error:
                    return said.measured(ended=error.message)
        return said.measured()


class _Ended(UnsupportedError):
    """An engine ended, or had to be ended, when it loaded a network.

    Args:
        place: of the network.
        message: what happened.
    """

    def __init__(self, place: int, message: str):
        super().__init__(message)
        self.place = place


@dataclass
class _Said:
    """What is known of networks on an engine, whichever of its processes told it.

    Args:
        engine: its name.
        networks: the networks.
        version: of the engine; "" as long as no process started.
        refused: position of a network that is left out → why.
        remarks: position of a network → what users should know of it.
    """

    engine: str
    networks: Sequence[Network]
    version: str = ""
    refused: dict[int, str] = field(default_factory=dict)
    remarks: dict[int, list[str]] = field(default_factory=dict)

    def measured(
        self, timings: Mapping[int, Timing] | None = None, *, ended: str | None = None
    ) -> Measured:
        """Return it with the times that were measured.

        Args:
            timings: position of a network → its times.
            ended: why the engine gave no times at all.
        """
        found = timings or {}
        return Measured(
            engine=self.engine, version=self.version,
            timings=tuple(found.get(place) for place in range(len(self.networks))),
            notes=(
                *(f"'{self.networks[k].name}': {text}" for k, text in sorted(self.refused.items())),
                *(
                    f"{self.engine}: '{self.networks[k].name}' {text}"
                    for k, texts in sorted(self.remarks.items())
                    for text in texts
                ),
                *([ended] if ended is not None else []),
            ),
        )  # fmt: skip


class _Timing:
    """Networks that are being timed in one process.

    Args:
        stopwatch: whose engine it is.
        process: the engine.
        networks: the networks.
        folder: an empty folder.
        said: what is known of the networks; what the engine refuses is left out, and added to it.
        progress: told how far the work is.
    """

    def __init__(
        self,
        stopwatch: EngineStopwatch,
        process: EngineProcess,
        networks: Sequence[Network],
        folder: Path,
        said: _Said,
        progress: Progress,
    ):
        self._engine, self._process, self._networks = stopwatch.engine, process, networks
        self._folder, self._said, self._progress = folder, said, progress

    def timed(self, seconds: float) -> dict[int, Timing]:
        """Return the times of all networks that the engine takes, by their positions.

        Raises:
            UnsupportedError: the engine ended.
        """
        numbers: list[int] = []
        for session in range(sessions_for(self._networks)):
            for place in range(len(self._networks)):
                if place not in self._said.refused:
                    numbers += self._loaded(session, place)
        taken = [k for k in range(len(self._networks)) if k not in self._said.refused]
        if not taken:
            return {}
        times = interleaved(
            lambda order: self._process.time([numbers[place] for place in order]),
            len(numbers), seconds=seconds, progress=self._progress,
        )  # fmt: skip
        samples = [fixed_batch(self._networks[place]) or 1 for place in taken]
        return dict(zip(taken, by_network(times, samples), strict=True))

    def _loaded(self, session: int, place: int) -> list[int]:
        """Return the number of a network in the process; nothing where the engine refuses it.

        Raises:
            UnsupportedError: the engine ended.
        """
        network = restored(self._networks[place])
        self._progress(detailed("loading", network.name), place, len(self._networks))
        own = self._folder / f"{session}-{place}"
        own.mkdir()
        try:
            _check_size(network)
            loaded = _Loaded(self._engine, self._process, network, own)
            number = loaded.number()
            if not session:
                self._said.remarks[place] = loaded.notes(number)
        except UnsupportedError as error:
            if not self._process.alive:
                raise _Ended(place, error.message) from error
            if session:
                raise  # it took the network before: it has no memory for a second one, say
            self._said.refused[place] = error.message
            return []
        return [number]


def _check_size(network: Network) -> None:
    """Raise where a sample takes much memory: a size that a file claims is no reason for it.

    Raises:
        UnsupportedError: that is so.
    """
    size = peak_bytes(network) * (fixed_batch(network) or 1)
    if size > MEMORY:
        raise UnsupportedError(
            f"a sample takes {size_text(size)} of memory: too large to be timed (--input-shape)"
        )


class _Loaded:
    """A network that is being loaded into an engine."""

    def __init__(self, engine: Engine, process: EngineProcess, network: Network, folder: Path):
        self._engine, self._process = engine, process
        self._network, self._folder = network, folder
        samples = fixed_batch(network) or 1
        (batch,) = SyntheticDataset(network, samples=samples, batch=samples)
        self._inputs = batch.inputs
        self._format = ""
        self._refused = ""

    def number(self) -> int:
        """Load it in its own format where the engine takes that, else as ONNX.

        Raises:
            UnsupportedError: the engine takes it in no format.
        """
        own = self._network.source.format if self._network.source is not None else "onnx"
        written = tuple(dict.fromkeys((own, "onnx")))
        formats = [name for name in written if name in self._engine.reads]
        if not formats:
            raise UnsupportedError(
                f"engine '{self._engine.name}' takes {' or '.join(self._engine.reads) or 'nothing'}"
                f", and the network is written as {' or '.join(written)}"
            )
        last: SecateurError | None = None
        for name in formats:
            try:
                found = self._load(name)
            except UnsupportedError as error:
                if last is not None:
                    raise last from error
                last, self._refused = error, f"{name}: {error.message}"
                continue
            self._format = name
            return found
        assert last is not None, "there is a format"
        raise last

    def _load(self, name: str) -> int:
        folder = self._folder / name
        scratch = folder / "engine"
        scratch.mkdir(parents=True)
        save_arrays(folder / "inputs.npz", self._inputs)
        what: dict[str, Any] = {
            "format": name,
            "files": {end: str(path) for end, path in
                      written_for(self._network, folder, name).items()},
            "inputs": str(folder / "inputs.npz"),
            "outputs": list(self._network.outputs),
            "folder": str(scratch),
        }  # fmt: skip
        return self._process.load(what)

    def notes(self, number: int) -> list[str]:
        """Return what users should know of how it was loaded, and of what it computes."""
        found = []
        if self._refused:
            found.append(f"was given as {self._format}, since it does not take {self._refused}")
        path = self._folder / "outputs.npz"
        self._process.outputs(number, str(path))
        apart = self._apart(path)
        if apart > APART:
            found.append(
                f"computes something else there: outputs differ by {apart:.0%} of the largest value"
            )
        return found

    def _apart(self, path: Path) -> float:
        """Return the largest relative difference of outputs that both sides name alike."""
        with on_processor():
            wanted = Session(self._network).run(self._inputs)
        worst = 0.0
        for name, value in load_arrays(path).items():
            if name in wanted and wanted[name].size == value.size and value.size:
                own = wanted[name].ravel().astype(np.float64)
                apart = np.abs(value.ravel() - own).max() / (np.abs(own).max() or 1.0)
                worst = max(worst, float(apart) if np.isfinite(apart) else np.inf)
        return worst


def find_engine(name: str, threads: int | None = None) -> EngineStopwatch:
    """Return what times networks on an engine.

    Args:
        name: of the engine; `onnxruntime` is always there.
        threads: of a run; None for all cores of this process.

    Raises:
        PlanError: there is no such engine, it is not installed, or the threads are out of range.
    """
    try:
        engine = ENGINES.find(name)
    except PlanError as error:
        error.option = "engine"
        raise
    if threads is not None and threads < 1:
        raise PlanError(f"there must be at least one thread, not {threads}", option="threads")
    missing = engine.missing()
    if missing and name != LOCAL:
        raise PlanError(
            f"engine '{name}' is not installed",
            hint=f"pip install {' '.join(missing)}",
            option="engine",
        )
    return EngineStopwatch(engine, threads)
