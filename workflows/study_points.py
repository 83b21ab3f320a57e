"""The points of a study under way: made at once, kept one by one, the best with their models."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from joblib import Parallel, effective_n_jobs
from joblib.parallel import get_active_backend

from ..core.cost.latency import change, timings
from ..core.data import Dataset
from ..core.engine.carried import spread
from ..core.errors import UnsupportedError, VerificationError
from ..core.evaluation.summary import LARGEST_TWICE
from ..core.files import swept
from ..core.ir.footprint import multiply_adds
from ..core.ir.network import Network
from ..core.ir.windows import restored
from ..core.journal import Journal
from ..core.progress import Progress
from ..core.pruning.result import PruneResult
from ..core.study.front import front_of
from ..core.study.make import Bench, PointOutcome, StudyFigures
from ..core.study.options import StudyOptions
from ..core.study.points import StudyPoint, points_of
from ..core.study.result import StudyRow
from ..core.verify.small_input import within_memory
from ..formats.saving import reread, save
from .pipeline.cache import STEP_FILE, Kept, Store

__all__ = ["BEST", "MODELS", "STATE_FILE", "TUNING", "StudyRun", "StudyTuning"]

BEST = "best"
"""The folder of the best models."""

STATE_FILE = "state.jsonl"
"""The points that are done."""

MODELS = ".models"
"""The hidden folder of the models that no other one beats so far."""

AT_ONCE = 4
"""Models that are made at once on one machine where nobody says otherwise. Each of them uses all
cores for most of its work already, so that more of them take memory and win little."""

TUNING = ".point-"
"""Beginning of the names of hidden folders with models that are being fine-tuned."""


@dataclass(frozen=True)
class StudyTuning:
    """Fine-tunes models, each in a folder where it goes on after any stop.

    Args:
        network: the original: the teacher.
        folder: of the study.
        basis: as for :meth:`~..core.study.points.StudyPoint.key`.
        options: of the study, which say how models are trained.
    """

    network: Network
    folder: Path
    basis: str
    options: StudyOptions

    def place(self, point: StudyPoint) -> Path:
        """Return the folder of a point."""
        return self.folder / f"{TUNING}{point.key(self.basis, self.options)[:16]}"

    def __call__(self, result: PruneResult, point: StudyPoint, data: Dataset) -> PruneResult:
        """Return a model fine-tuned.

        Raises:
            DataError, FormatError, UnsupportedError, VerificationError: it cannot be trained.
        """
        from .round_training import RoundTraining

        pruned, tuned = (self.place(point) / name for name in ("pruned", "tuned"))
        shutil.rmtree(pruned, ignore_errors=True)  # it is made alike again
        saved = save(result, pruned)
        own = self.options.finetune
        assert own is not None, "models are fine-tuned"
        train = RoundTraining(self.network, data, replace(own, seed=own.seed + point.seed))
        trained = train(saved.paths, result.plan, tuned)
        for path in saved.companions:
            shutil.copyfile(path, tuned / path.name)
        files = {path.suffix.lower(): tuned / path.name for path in saved.paths}
        network = reread(self.network, files, [tuned / path.name for path in saved.companions])
        notes = (*result.notes, *trained.notes)
        return replace(result, network=network, notes=notes)


@dataclass
class StudyRun:
    """Points under way.

    Args:
        bench: makes them.
        folder: of the study.
        points: all points with their keys, in order.
        known: what is known of keys.
        latencies: keys of the best models → what was measured of the original, and of each.
        journal: keeps both.
        reasons: place → why a point could not be made.
    """

    bench: Bench
    folder: Path
    points: list[tuple[StudyPoint, str]]
    known: dict[str, StudyFigures]
    latencies: dict[tuple[str, ...], tuple[float, list[list[float]]]]
    journal: Journal
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def opened(cls, bench: Bench, folder: Path, basis: str, *, restart: bool) -> Iterator[StudyRun]:
        """Read what is known, and get ready to add to it.

        Raises:
            DataError: the folder holds a study of something else.
            FormatError: it cannot be written.
        """
        options = bench.options
        measured: dict[str, StudyFigures] = {}
        latencies: dict[tuple[str, ...], tuple[float, list[list[float]]]] = {}

        def take(entry: Mapping[str, Any]) -> None:
            if "point" in entry:
                measured[str(entry["point"])] = StudyFigures.from_data(entry["measured"])
            else:
                latencies[tuple(entry["latency"])] = entry["original"], entry["models"]

        points = [(point, point.key(basis, options)) for point in points_of(options)]
        name = hashlib.sha256(basis.encode()).hexdigest()
        with Journal.open(folder / STATE_FILE, name, take, restart=restart) as journal:
            yield cls(bench, folder, points, measured, latencies, journal)

    @property
    def _store(self) -> Store:
        return Store(self.folder / MODELS)

    def make(self, progress: Progress) -> None:
        """Make all points that are not known, and again the best ones whose model is not there."""
        swept(self.folder / MODELS)
        waiting = [k for k, (_, key) in enumerate(self.points) if key not in self.known]
        self._made(waiting, progress)
        self._made([k for k in self.front() if self._kept(k) is None], progress)
        for name in self._held() - {self._step(k) for k in self.front()}:
            self._store.forget(name)
        for place in self.folder.glob(f"{TUNING}*"):
            shutil.rmtree(place)

    def _made(self, places: Sequence[int], progress: Progress) -> None:
        """Make some points, and keep what each comes to as soon as it is there."""
        if not places:
            return
        where = {point: place for place, (point, _) in enumerate(self.points)}
        parallel = Parallel(
            n_jobs=_workers(self.bench.options), prefer="threads", return_as="generator_unordered"
        )
        points = [self.points[place][0] for place in places]
        progress("models", 0, len(points))
        found = spread(parallel, Bench.make, ((self.bench, point) for point in points))
        for done, made in enumerate(found, 1):
            self._keep(where[made.point], made)
            progress("models", done, len(points))

    def _keep(self, place: int, made: PointOutcome) -> None:
        """Keep the model of a point where no other one beats it, and then its figures."""
        if made.measured is None:
            self.reasons[place] = made.reason
            return
        key = self.points[place][1]
        self.known[key] = made.measured
        front = self.front()
        if place in front:
            try:
                self._shelve(place, made)
            except (VerificationError, UnsupportedError) as error:
                del self.known[key]  # other models are not touched by that
                self.reasons[place] = str(error)
                return
            for name in self._held() - {self._step(k) for k in front}:
                self._store.forget(name)
        self.journal.add({"point": key, "measured": made.measured.to_data()})
        if isinstance(self.bench.tune, StudyTuning):
            shutil.rmtree(self.bench.tune.place(made.point), ignore_errors=True)

    def front(self) -> list[int]:
        """Return the places of the known points that no other one beats, by rising cost."""
        known = [(self.known.get(key), place) for place, (_, key) in enumerate(self.points)]
        there = [(found, place) for found, place in known if found is not None]
        figures = [(float(found.operations), found.loss) for found, _ in there]
        return [there[number][1] for number in front_of(figures)]

    def _step(self, place: int) -> str:
        return self.points[place][1][:16]

    def _held(self) -> set[str]:
        """Return the names of the models that are there."""
        return {path.parent.name for path in (self.folder / MODELS).glob(f"[!.]*/{STEP_FILE}")}

    def _kept(self, place: int) -> Kept | None:
        """Return the model of a point; None where it is not there."""
        found = self._store.known(self._step(place))
        return found if found is not None and found.key == self.points[place][1] else None

    def _shelve(self, place: int, made: PointOutcome) -> None:
        """Write and verify a model."""
        assert made.result is not None, "it was made"
        step, key = self._step(place), self.points[place][1]
        self._store.forget(step)
        work = self._store.begin(step, key, resumes=False)
        saved = save(made.result, work, data=self.bench.data)
        self._store.keep(
            step, key,
            files=[path.name for path in saved.paths],
            companions=[path.name for path in saved.companions],
            plan=saved.plan.name if saved.plan is not None else None,
            figures={}, seconds=0.0,
        )  # fmt: skip

    def timed(self, progress: Progress) -> tuple[float | None, tuple[StudyRow, ...]]:
        """Return the latency of the original, and all rows with the latencies of the best ones."""
        front = self.front()
        original, times = self._times(front, progress) if front else (None, {})
        rows = []
        for place, (point, key) in enumerate(self.points):
            latency = times.get(place)
            rows.append(
                StudyRow(
                    point=point,
                    measured=self.known.get(key),
                    reason=self.reasons.get(place, ""),
                    front=place in front,
                    model=self._name(place) if place in front else "",
                    latency=latency[0] if latency is not None else None,
                    latency_interval=latency[1:] if latency is not None else None,
                )
            )
        return original, tuple(rows)

    def _times(
        self, front: Sequence[int], progress: Progress
    ) -> tuple[float | None, dict[int, tuple[float, float, float]]]:
        """Return the latency of the original, and those of some points with their intervals."""
        if not self.bench.options.latency:
            return None, {}
        keys = tuple(self.points[place][1] for place in front)
        if keys not in self.latencies:
            pairs = [_timed(self.bench.network, self._network(k), progress) for k in front]
            original = median(before for before, _ in pairs)
            models = [after for _, after in pairs]
            self.latencies[keys] = original, models
            self.journal.add({"latency": list(keys), "original": original, "models": models})
        original, models = self.latencies[keys]
        return original, {
            place: (ms, low, high) for place, (ms, low, high) in zip(front, models, strict=True)
        }

    def _name(self, place: int) -> str:
        """Return what the folder of a best model is called, within that of the study."""
        return f"{BEST}/{self.points[place][0].name}"

    def models(self) -> dict[str, Path]:
        """Return name → folder of each of the best models."""
        return {self._name(k): self._store.of(self._step(k)) for k in self.front()}

    def _network(self, place: int) -> Network:
        """Return the model of a point, read from its files."""
        kept = self._kept(place)
        assert kept is not None, "the best models are kept"
        files = {path.suffix.lower(): path for path in kept.paths}
        return reread(self.bench.network, files, [kept.folder / name for name in kept.companions])


def _workers(options: StudyOptions) -> int:
    """Return how many points to make at once, as joblib counts them."""
    if options.jobs is not None:
        return options.jobs
    backend, _ = get_active_backend()
    if type(backend).__name__.startswith("Dask"):
        return -1
    return min(AT_ONCE, int(effective_n_jobs(-1)))


def _timed(original: Network, network: Network, progress: Progress) -> tuple[float, list[float]]:
    """Return milliseconds of the original, and those of a network with the interval of the change.

    Networks are timed two at a time, so that no more of them are in memory.
    """
    sessions = 2 if multiply_adds(original) <= LARGEST_TWICE else 1
    both = within_memory(restored(original), restored(network))
    before, after = timings(both, sessions=sessions, progress=progress)
    return before.median, [after.median, *change(before, after)]
