"""Studies in a folder: points that go on after any stop, the best models, tables and a plot.

While a study is under way, its folder holds a journal of the points that are done, and a hidden
folder with the models that no other one beats so far. Results appear in the end, each whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from ..core.cost.latency import change, timings
from ..core.cost.network_cost import measure_cost
from ..core.coupling import find_groups
from ..core.data import Dataset
from ..core.data.arrays import AnyData, as_dataset
from ..core.data.shards import fingerprint_of
from ..core.engine.threads import within_cores
from ..core.errors import (
    FormatError,
    PlanError,
    UnsupportedError,
    VerificationError,
    located,
)
from ..core.evaluation.fitted import fit_data
from ..core.evaluation.summary import LARGEST_TWICE
from ..core.evaluation.task import Task
from ..core.files import alone_in, folder_aside, made_folder, swept, write_whole
from ..core.finetune.options import FinetuneOptions
from ..core.ir.digest import digest
from ..core.ir.footprint import multiply_adds
from ..core.ir.network import Network
from ..core.ir.windows import restored
from ..core.journal import Journal
from ..core.options import options_of
from ..core.plan.exclude import check_excluded
from ..core.progress import Progress, silent
from ..core.pruning.result import PruneResult
from ..core.report.study_plot import plotted
from ..core.study.front import front_of
from ..core.study.images import FewImages
from ..core.study.make import Bench, Made, StudyFigures, original_of
from ..core.study.options import StudyOptions
from ..core.study.points import StudyPoint, check_names, points_of
from ..core.study.result import FRONT_TABLE, STUDY_FILE, STUDY_TABLE, Study, StudyRow
from ..core.training.framework import check_installed
from ..core.verify.small_input import within_memory
from ..formats.saving import check_free, check_target, file_bytes, reread, save, stored_bytes
from .pipeline.cache import STEP_FILE, Kept, Store

__all__ = ["BEST", "PLOT_FILE", "study"]

BEST, BEST_FILE = "best", "best.json"
"""The folder of the best models, and the file in it that says which they are."""

PLOT_FILE = "study.svg"
"""The plot of all families."""

STATE_FILE = "state.jsonl"
"""The points that are done."""

MODELS = ".models"
"""The hidden folder of the models that no other one beats so far."""

VERSION = 1
"""Counts up when the same settings no longer give the same points."""

AT_ONCE = 4
"""Models that are made at once on one machine where nobody says otherwise. Each of them uses all
cores for most of its work already, so that more of them take memory and win little."""


def study(
    network: Network,
    data: AnyData,
    val: AnyData,
    options: StudyOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    restart: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Study:
    """Compare methods of pruning by the models that they make at several rates.

    Every point (method, repair, rate, images of each class, seed) is pruned, repaired and, where
    that is asked for, fine-tuned as :func:`prune` and :func:`finetune` do it, and measured. Points
    that cannot be made are rows with their reason.

    Args:
        network: the original.
        data: samples for calibration and training; labelled for few images of each class.
        val: samples that models are measured on.
        options: what is compared.
        output: folder for results, the best models and finished points, from which a killed run
            goes on. Points of the same network and data are found there whatever else was compared.
            None to keep no files.
        restart: forget the points that are there.
        progress: told how far the work is.
        settings: fields of :class:`StudyOptions`, instead of `options`.

    Raises:
        PlanError: options do not fit the network, a name is unknown, or nothing can be removed.
        DataError: the data does not fit, the folder holds a study of something else, or another run
            is at work in it.
        FormatError: the folder cannot be written.
        UnsupportedError: models are to be fine-tuned, and PyTorch is not installed, or a layer
            cannot be trained.
    """
    data, val = as_dataset(data, network), as_dataset(val, network)
    options = options_of(StudyOptions, options, settings)
    check_names(options)
    found = _Found.of(network, data, val, options)
    with ExitStack() as held:
        if output is None:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="secateur-")))
        else:
            folder = Path(output)
            _check_folder(network, folder)
            held.enter_context(made_folder(folder, FormatError))
        held.enter_context(alone_in(folder))
        held.enter_context(within_cores())
        came_to, models = _studied(network, found, options, folder, progress, restart=restart)
        if output is None:
            rows = tuple(replace(row, model="") for row in came_to.rows)
            return replace(came_to, rows=rows)
        notes = _write_results(folder, came_to, models)
    return replace(came_to, notes=(*came_to.notes, *notes))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """Data that fits, and what is measured."""

    data: Dataset
    val: Dataset
    task: Task
    notes: tuple[str, ...]

    @classmethod
    def of(cls, network: Network, data: Dataset, val: Dataset, options: StudyOptions) -> _Found:
        """Check all that can be checked before long work.

        Raises:
            DataError, PlanError, UnsupportedError: something does not fit.
        """
        if not any(group.prunable for group in find_groups(network).groups):
            raise PlanError("no channel of this network can be removed")
        check_excluded(network, options.exclude)
        own = fit_data(network, data)
        judged = fit_data(network, val, options.task)
        if options.finetune is not None:
            from .round_training import RoundTraining  # PyTorch takes seconds to load

            check_installed()
            RoundTraining(network, own.dataset, options.finetune).check()
        return cls(
            data=own.dataset, val=judged.dataset, task=judged.task,
            notes=tuple(dict.fromkeys((*own.notes, *judged.notes))),
        )  # fmt: skip


def _check_folder(network: Network, folder: Path) -> None:
    """Raise if results could not be written to a folder.

    Raises:
        FormatError, UnsupportedError: they could not.
    """
    for name in (STUDY_FILE, STUDY_TABLE, FRONT_TABLE, PLOT_FILE):
        check_free(folder / name)
    best = folder / BEST
    if best.exists() and not (best / BEST_FILE).is_file():
        with located(file=str(best)):
            raise FormatError(
                "is in the way: no study made it", hint="another folder, or move it away"
            )
    check_target(network, best)


def _studied(
    network: Network,
    found: _Found,
    options: StudyOptions,
    folder: Path,
    progress: Progress,
    *,
    restart: bool,
) -> tuple[Study, Mapping[str, Path]]:
    """Make all points, and return what they came to, and where each of the best models is."""
    few = None
    if options.low_data:
        few = FewImages.of(network, found.data, max(options.low_data), progress)
    known = _known(network, found, progress)
    before, value = original_of(network, found.val, found.task, progress)
    if restart:
        _forget(folder)
    tune = None
    if options.finetune is not None:
        tune = _Tuning(network, options.finetune, folder, known, options)
    groups = find_groups(network)
    bench = Bench(
        network=network, groups=groups, data=found.data, val=found.val, task=found.task,
        options=options, before=before, before_value=value, few=few, size=file_bytes, tune=tune,
    )  # fmt: skip
    with _Run.opened(bench, folder, known, restart=restart) as run:
        run.make(progress)
        latency, rows = run.timed(progress)
        models = run.models()
    cost = measure_cost(network, groups)
    came_to = Study(
        model=network.name,
        model_digest=digest(network),
        data=found.data.name,
        samples=found.data.samples,
        validation=found.val.name,
        validation_samples=found.val.samples,
        metric=found.task.metric,
        unit=found.task.unit,
        higher_is_better=found.task.higher_is_better,
        original_value=value,
        operations=cost.operations,
        parameters=cost.parameters,
        size=stored_bytes(network) or file_bytes(network),
        latency=latency,
        options=options.plain(),
        rows=rows,
        notes=found.notes,
    )
    return came_to, models


def _known(network: Network, found: _Found, progress: Progress) -> str:
    """Return a text of what all points depend on."""
    data, val = (fingerprint_of(network, one, progress) for one in (found.data, found.val))
    others = "".join(f" {digest(companion)}" for companion in network.companions)
    return f"{VERSION} {digest(network)}{others} {data} {val} {found.task.metric}"


def _forget(folder: Path) -> None:
    """Take away what an earlier study left.

    Raises:
        FormatError: it cannot be taken away.
    """
    with located(file=str(folder)):
        try:
            for name in (STUDY_FILE, STUDY_TABLE, FRONT_TABLE, PLOT_FILE):
                (folder / name).unlink(missing_ok=True)
            for place in (folder / BEST, folder / MODELS, *folder.glob(f"{TUNING}*")):
                if place.is_dir():
                    shutil.rmtree(place)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error


TUNING = ".point-"
"""Beginning of the names of hidden folders with models that are being fine-tuned."""


@dataclass(frozen=True)
class _Tuning:
    """Fine-tunes models, each in a folder where it goes on after any stop.

    Args:
        network: the original: the teacher.
        training: how models are trained.
        folder: of the study.
        known: as for :meth:`~..core.study.points.StudyPoint.key`.
        options: of the study.
    """

    network: Network
    training: FinetuneOptions
    folder: Path
    known: str
    options: StudyOptions

    def place(self, point: StudyPoint) -> Path:
        """Return the folder of a point."""
        return self.folder / f"{TUNING}{point.key(self.known, self.options)[:16]}"

    def __call__(self, result: PruneResult, point: StudyPoint, data: Dataset) -> PruneResult:
        """Return a model fine-tuned.

        Raises:
            DataError, FormatError, UnsupportedError, VerificationError: it cannot be trained.
        """
        from .round_training import RoundTraining

        pruned, tuned = (self.place(point) / name for name in ("pruned", "tuned"))
        shutil.rmtree(pruned, ignore_errors=True)  # it is made alike again
        saved = save(result, pruned)
        seed = self.training.seed + point.seed
        train = RoundTraining(self.network, data, replace(self.training, seed=seed))
        trained = train(saved.paths, result.plan, tuned)
        for path in saved.companions:
            shutil.copyfile(path, tuned / path.name)
        files = {path.suffix.lower(): tuned / path.name for path in saved.paths}
        network = reread(self.network, files, [tuned / path.name for path in saved.companions])
        notes = (*result.notes, *trained.notes)
        return replace(result, network=network, notes=notes)


@dataclass
class _Run:
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
    def opened(cls, bench: Bench, folder: Path, known: str, *, restart: bool) -> Iterator[_Run]:
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

        points = [(point, point.key(known, options)) for point in points_of(options)]
        name = hashlib.sha256(known.encode()).hexdigest()
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
        found = parallel(delayed(Bench.make)(self.bench, point) for point in points)
        for done, made in enumerate(found, 1):
            self._keep(where[made.point], made)
            progress("models", done, len(points))

    def _keep(self, place: int, made: Made) -> None:
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
        if isinstance(self.bench.tune, _Tuning):
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

    def _shelve(self, place: int, made: Made) -> None:
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


def _write_results(folder: Path, found: Study, models: Mapping[str, Path]) -> tuple[str, ...]:
    """Write the best models, the plot and the tables, and return what users should know.

    Raises:
        FormatError: something cannot be written.
    """
    _write_best(folder, found, models)
    picture = plotted(found)
    notes: tuple[str, ...] = ()
    if picture is not None:
        write_whole(folder / PLOT_FILE, picture.encode(), error=FormatError)
    else:
        with located(file=str(folder / PLOT_FILE)):
            try:
                (folder / PLOT_FILE).unlink(missing_ok=True)  # of an earlier run
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        if found.made:
            notes = (f"{PLOT_FILE} is left out: pip install 'secateur[report]'",)
    write_whole(folder / FRONT_TABLE, found.pareto_csv().encode(), error=FormatError)
    write_whole(folder / STUDY_TABLE, found.to_csv().encode(), error=FormatError)
    write_whole(folder / STUDY_FILE, _json(found.to_data()), error=FormatError)
    return notes


def _write_best(folder: Path, found: Study, models: Mapping[str, Path]) -> None:
    """Put the best models in the place of those of an earlier run.

    Raises:
        FormatError: they cannot be written.
    """
    best = folder / BEST
    with folder_aside(folder, error=FormatError) as aside:
        new = aside / BEST
        new.mkdir()
        for model, place in models.items():
            shutil.copytree(place, aside / model, ignore=shutil.ignore_patterns(STEP_FILE))
        told = {row.model: row.to_data() for row in found.rows if row.model}
        write_whole(new / BEST_FILE, _json(told), error=FormatError)
        if best.exists():
            best.replace(aside / "old")
        new.replace(best)


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
