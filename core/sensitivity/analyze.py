"""Sensitivity: what the network loses when one group alone loses a share of its channels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..coupling.groups import Groups, find_groups
from ..criteria import CRITERIA, ScoreContext
from ..data import Dataset
from ..data.arrays import AnyData, as_dataset
from ..data.shards import shard_size
from ..engine.padding import channel_block, padded
from ..errors import PlanError
from ..evaluation.fitted import fit_data
from ..evaluation.metrics.metric import Metric
from ..evaluation.task import Task
from ..files import alone_in, made_folder
from ..ir.digest import digest
from ..ir.network import Network
from ..journal import check_plain
from ..options import options_of
from ..plan.exclude import check_excluded, excluded_groups
from ..progress import Progress, silent
from ..suffixes.contexts import Contexts, Kept, Recomputed, kept_bytes
from ..suffixes.suffix import Suffix, make_suffix
from .curves import Curve, find_curves
from .options import AnalyzeOptions
from .original import Original, measure_original
from .points import Meter, Removals, first_exceeding
from .result import Analysis, GroupAnalysis, Point
from .state import Known, State

__all__ = ["analyze"]

ARITHMETIC = 1
"""Counts up when the same settings no longer give the same points."""

Work = Sequence[tuple[Curve, Suffix | None]]


def analyze(
    network: Network,
    data: AnyData,
    options: AnalyzeOptions | None = None,
    *,
    calibration: Dataset | None = None,
    groups: Groups | None = None,
    state: str | Path | None = None,
    restart: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Analysis:
    """Measure what each group's channels are worth.

    For every group and rate, that share of the group's channels (lowest scores first, in whole
    steps that keep balance rules) is removed and the loss measured on all samples, everything
    else unchanged. With labels the loss is that of accuracy (or mAP, mean IoU, explained
    variance), 0…1; without, it is the divergence of the outputs from those of the unchanged
    network: KL in nats for classifiers, ‖difference‖ / ‖output‖ of the worst output for others.

    Args:
        network: the network, unchanged by this.
        data: samples, opened for the network.
        calibration: samples that the criterion orders channels by; None for `data`.
        options: what is measured. With a threshold, what
            :func:`~..allocation.threshold.threshold` decides at this loss or a smaller one is the
            same as without.
        groups: groups of the network; those without partitions are left out. None to find them.
        state: file that keeps finished points, so that a killed run goes on where it was.
        restart: forget what the state holds.
        progress: told how far the work is.
        settings: fields of :class:`AnalyzeOptions`, instead of `options`.

    Raises:
        PlanError: a rate or the threshold is out of range, a name is unknown, or nothing can be
            removed.
        DataError: the data does not fit, or the state is broken, belongs to another analysis, is
            being written by another run, or cannot be written.
    """
    data = as_dataset(data, network)
    options = options_of(AnalyzeOptions, options, settings)
    groups = groups or find_groups(network)
    if not any(group.prunable for group in groups.groups):
        raise PlanError("no channel of this network can be removed")
    check_excluded(network, options.exclude)
    fitting = fit_data(network, data, options.task)
    data, task = fitting.dataset, fitting.task
    read = fit_data(network, calibration).dataset if calibration is not None else None
    with ExitStack() as held:
        place = None if state is None else Path(state)
        if place is not None:
            held.enter_context(made_folder(place.parent))
            held.enter_context(alone_in(place.parent))
            check_plain(place)
        curves = _curves(network, groups, data if read is None else read, task, options, progress)
        original = measure_original(
            network, data, task, memory=options.memory, jobs=_workers(options), progress=progress
        )
        key = _digest(network, original, options.criterion, curves)
        left_out = excluded_groups(network, groups, options.exclude)
        curves = [curve for curve in curves if curve.group.name not in left_out]
        known = held.enter_context(State.open(place, key, restart=restart))
        points = _measure(network, groups, data, curves, original, known, options, progress)
    return Analysis(
        model=network.name,
        model_digest=digest(network),
        digest=key,
        data=data.name,
        samples=original.samples,
        metric=task.metric,
        original_value=original.value,
        criterion=options.criterion,
        threshold=options.threshold,
        notes=fitting.notes,
        groups=tuple(
            GroupAnalysis(
                name=curve.group.name,
                layers=curve.group.layers,
                channels=len(curve.group.units),
                order=curve.places,
                points=own,
            )
            for curve, own in zip(curves, points, strict=True)
        ),
    )


def _workers(options: AnalyzeOptions) -> int:
    """Return how many threads to use; -1 for all."""
    return -1 if options.jobs is None else options.jobs


def _rates(options: AnalyzeOptions) -> list[float]:
    """Return the rates to measure at, rising."""
    return sorted({round(float(rate), 9) for rate in options.rates})


def _curves(
    network: Network,
    groups: Groups,
    data: Dataset,
    task: Task,
    options: AnalyzeOptions,
    progress: Progress,
) -> list[Curve]:
    """Return the curve of each group, with its channels in the order of the criterion."""
    context = ScoreContext(
        network=network, groups=groups, data=data, measured_by=task, progress=progress,
        jobs=options.jobs,
    )  # fmt: skip
    criterion = CRITERIA.find(options.criterion)
    criterion.check()
    scores = criterion.score(context)
    return find_curves(groups, scores, _rates(options))


def _measure(
    network: Network,
    groups: Groups,
    data: Dataset,
    curves: Sequence[Curve],
    original: Original,
    known: State,
    options: AnalyzeOptions,
    progress: Progress,
) -> list[tuple[Point, ...]]:
    """Measure what the state does not know yet, and return the points of each curve."""
    # What is computed has more channels than what is decided about, where that is faster.
    fast, labelled = padded(network, groups, channel_block())
    work = _ordered(fast, labelled, curves, original.task.outputs)
    workers = _workers(options)
    contexts = _contexts(fast, data, work, original, options.memory, workers)
    run = _Run(
        groups=groups,
        state=known,
        threshold=options.threshold,
        rising=options.rising,
        contexts=contexts,
        meter=Meter(original, contexts, jobs=workers),
    )
    run.measure(work, progress)
    return [run.points(curve, _rates(options)) for curve in curves]


def _digest(network: Network, original: Original, criterion: str, curves: Sequence[Curve]) -> str:
    """Return what names all that the loss of a point depends on."""
    settings = (
        f"{ARITHMETIC} {digest(network)} {original.fingerprint} {original.task.metric} {criterion}"
    )
    orders = [f"{curve.group.name} {curve.order}" for curve in curves]
    return hashlib.sha256("\n".join([settings, *orders]).encode()).hexdigest()


def _ordered(
    network: Network, groups: Groups, curves: Sequence[Curve], outputs: Sequence[str]
) -> Work:
    """Return the curves with what follows from their groups, in the order of the graph."""
    work = [(curve, make_suffix(network, groups, curve.group, outputs)) for curve in curves]
    return sorted(work, key=lambda pair: pair[1].position if pair[1] else -1)


def _contexts(
    network: Network, data: Dataset, work: Work, original: Original, memory: int, jobs: int
) -> Contexts:
    suffixes = [suffix for _, suffix in work if suffix is not None]
    if original.kept and kept_bytes(network, suffixes) * original.samples <= memory:
        return Kept(network, original.shards, jobs)
    return Recomputed(network, data, shard_size(network), original.task.outputs, jobs)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """Measures what the state does not know yet."""

    groups: Groups
    state: State
    threshold: float | None
    rising: bool
    contexts: Contexts
    meter: Meter

    def measure(self, work: Work, progress: Progress) -> None:
        """Measure group by group."""
        shares = [len(self._due(curve)) * self.meter.shards for curve, _ in work]
        clock = _Clock(progress, sum(shares))
        for (curve, suffix), share in zip(work, shares, strict=True):
            if suffix is None:
                for count in self._due(curve):
                    self.state.add(curve.group.name, count, Known(0.0, at_least=False))
            else:
                self.contexts.reach(suffix)
                surviving = partial(curve.surviving, self.groups)
                removals = Removals(suffix=suffix, surviving=surviving)
                self._measure_curve(curve, removals, clock)
                suffix.release()
            clock.finish(share)

    def points(self, curve: Curve, rates: Sequence[float]) -> tuple[Point, ...]:
        """Return what is known of a curve."""
        found = []
        for rate, count in zip(rates, curve.counts, strict=True):
            known = self.state.points.get((curve.group.name, count)) if count else _NOTHING
            if known is not None and (not known.at_least or self._enough(known)):
                found.append(
                    Point(rate=rate, removed=count, loss=known.loss, at_least=known.at_least)
                )
        return tuple(found)

    def _enough(self, known: Known, limit: float | None = None) -> bool:
        """Whether the loss is known, or at least that it is over the limit."""
        limit = self.threshold if limit is None else limit
        return not known.at_least or (limit is not None and known.loss > limit)

    def _due(self, curve: Curve) -> list[int]:
        """Return the numbers of removed channels whose loss is not known."""
        points = self.state.points
        known = [points.get((curve.group.name, count)) for count in curve.distinct]
        return [
            count
            for count, point in zip(curve.distinct, known, strict=True)
            if point is None or not self._enough(point)
        ]

    def _measure_curve(self, curve: Curve, removals: Removals, clock: _Clock) -> None:
        name = curve.group.name
        if self.threshold is None:
            due = self._due(curve)
            if due:
                for count, known in zip(
                    due, self.meter.measure(removals, due, clock.advance), strict=True
                ):
                    self.state.add(name, count, known)
            return
        seen: dict[int, list[Metric]] = {}

        def measure(count: int, limit: float) -> Known:
            known = self.state.points.get((name, count))
            if known is None or not self._enough(known, limit):
                metrics = seen.setdefault(count, [])
                known = self.meter.measure_until(removals, count, limit, metrics, clock.advance)
                self.state.add(name, count, known)
            return known

        first_exceeding(curve.distinct, self.threshold, measure, rising=self.rising)


_NOTHING = Known(0.0, at_least=False)
"""No channel gone, no loss."""


class _Clock:
    """Tells the progress of shards × points."""

    def __init__(self, progress: Progress, total: int):
        self._progress = progress
        self._total = total
        self._done = 0
        self._finished = 0
        progress("analysis", 0, total)

    def advance(self, count: int) -> None:
        """Note that so many were worked on."""
        self._done = min(self._done + count, self._total)
        self._progress("analysis", self._done, self._total)

    def finish(self, share: int) -> None:
        """Note that a group is done whose share of the work was estimated so."""
        self._finished += share
        if share:
            self._done = self._finished
            self._progress("analysis", self._done, self._total)
