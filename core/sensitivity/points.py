"""Measuring points: the loss of a group for some numbers of removed channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from joblib import Parallel, effective_n_jobs

from ..coupling.indices import LabelMask
from ..engine.carried import spread
from ..engine.session import Arrays
from ..evaluation.metrics.metric import Metric
from ..evaluation.task import Task, merged
from ..suffixes.contexts import Contexts, Piece, Wave
from ..suffixes.suffix import Suffix
from .original import Original
from .state import Known

__all__ = ["Meter", "Removals", "first_exceeding", "least_loss", "loss_of"]

BALANCE = 4
"""Calls for each core, so that none waits long for the last one."""

FIRST = 8
"""The first check comes after this part of all shards, the next after twice as many more."""

CHECKS = 16
"""How often, over all samples, it is asked whether a point is decided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Removals:
    """What may leave a group that is to be measured.

    Args:
        suffix: what follows from its channels.
        surviving: number of removed channels → mask over labels.
    """

    suffix: Suffix
    surviving: Callable[[int], LabelMask]


def metrics_of(suffix: Suffix, task: Task, piece: Piece, masks: Sequence[Arrays]) -> list[Metric]:
    """Return the metrics of one shard for some choices of channels; runs on any worker."""
    found = []
    for mask in masks:
        metric = task.make_metric()
        outputs = suffix.compute({**piece.context, **mask})
        metric.update({**piece.targets.outputs, **outputs}, piece.targets)
        found.append(metric)
    return found


def loss_of(task: Task, metrics: Sequence[Metric], original_value: float | None) -> float:
    """Return the loss that the metrics of all shards tell together."""
    return task.loss(float(merged(task, metrics).compute().value), original_value)


def least_loss(
    task: Task,
    metrics: Sequence[Metric],
    best: Sequence[Metric | None],
    original_value: float | None,
) -> float | None:
    """Return the least loss that is still possible once the first shards are known.

    Args:
        task: what is measured.
        metrics: of the first shards.
        best: what each shard gives at best (:meth:`~..evaluation.task.Task.best_case`), of all.
        original_value: the figure of the unchanged network.

    Returns:
        None where the task does not say what is best.
    """
    rest = [one for one in best[len(metrics) :] if one is not None]
    if len(rest) + len(metrics) < len(best):
        return None
    return loss_of(task, [*metrics, *rest], original_value)


class Meter:
    """Measures points on all cores.

    Args:
        original: the unchanged network on the same samples, and what is measured.
        contexts: values at the boundaries.
        jobs: as joblib takes them.
    """

    def __init__(self, original: Original, contexts: Contexts, jobs: int):
        self._original = original
        self._task = original.task
        self._contexts = contexts
        self._jobs = jobs
        self.shards = len(original.shards)

    @cached_property
    def _best(self) -> list[Metric | None]:
        """What each shard gives at best."""
        pairs = zip(self._original.metrics, self._original.targets, strict=True)
        return [self._task.best_case(*pair) for pair in pairs]

    def measure(
        self, removals: Removals, counts: Sequence[int], advance: Callable[[int], None]
    ) -> list[Known]:
        """Return the loss for some numbers of removed channels, from one pass over the samples.

        Args:
            removals: the group.
            counts: numbers of removed channels.
            advance: called with the number of shards × points done since the last call.
        """
        found: list[list[Metric]] = [[] for _ in counts]
        masks = [removals.suffix.masks(removals.surviving(count)) for count in counts]
        for wave in self._contexts.waves(removals.suffix, start=0, size=None):
            done = 0
            for metrics in self._computed(removals, wave, masks):
                for one in metrics:
                    found[done % len(masks)].append(one)
                    done += 1
                advance(len(metrics))
        return [self._known(metrics) for metrics in found]

    def measure_until(
        self,
        removals: Removals,
        count: int,
        limit: float,
        metrics: list[Metric],
        advance: Callable[[int], None],
    ) -> Known:
        """Return the loss, or a bound of it as soon as it is over `limit` beyond doubt.

        Args:
            removals: the group.
            count: number of removed channels.
            limit: the loss that matters.
            metrics: of the first shards where they were measured before; what is measured now is
                added.
            advance: called with the number of shards done since the last call.
        """
        least = self._least_over(limit, metrics, after=0)
        if least is not None:
            return Known(least, at_least=True)
        masks = [removals.suffix.masks(removals.surviving(count))]
        # A call of joblib takes 10 ms or more, so waves must not be small where shards are many.
        size = max(2 * effective_n_jobs(self._jobs), self.shards // FIRST)
        for wave in self._contexts.waves(removals.suffix, start=len(metrics), size=size):
            known = len(metrics)
            metrics.extend(one for (one,) in self._computed(removals, wave, masks))
            advance(len(metrics) - known)
            least = self._least_over(limit, metrics, after=known)
            if least is not None:
                return Known(least, at_least=True)
        return self._known(metrics)

    def _known(self, metrics: Sequence[Metric]) -> Known:
        return Known(loss_of(self._task, metrics, self._original.value), at_least=False)

    def _least_over(self, limit: float, metrics: Sequence[Metric], *, after: int) -> float | None:
        """Return the first bound over the limit; None where there is none.

        It is looked for at fixed places beyond the first `after` shards, so that the bound does not
        depend on how many shards were computed at once.
        """
        every = max(1, self.shards // CHECKS)
        for known in range(after + 1, min(len(metrics) + 1, self.shards)):
            if known % every == 0:
                least = least_loss(self._task, metrics[:known], self._best, self._original.value)
                if least is not None and least > limit:
                    return least
        return None

    def _computed(
        self, removals: Removals, wave: Wave, masks: Sequence[Arrays]
    ) -> Iterator[list[Metric]]:
        """Yield metrics, shard by shard and within a shard mask by mask."""
        many = len(wave) >= BALANCE * effective_n_jobs(self._jobs)
        parts = [masks] if many else [[mask] for mask in masks]
        parallel = Parallel(n_jobs=self._jobs, prefer="threads", return_as="generator")
        calls = ((removals.suffix, self._task, piece, part) for piece in wave for part in parts)
        yield from spread(parallel, metrics_of, calls)


def first_exceeding(
    counts: Sequence[int], limit: float, measure: Callable[[int, float], Known], *, rising: bool
) -> None:
    """Measure a curve only as far as needed to know where it goes over a limit.

    Without further assumptions every point up to that place must be known, and no other. Where
    curves rise, bisection finds the place from fewer points if it lies far out.

    Between its points a curve is straight, so the loss of the first point over the limit says how
    many of the channels before it may still go. That loss need only be known until it is clear
    that not one may: where it is over ``loss + (limit - loss) * channels``, with the loss at the
    point before and the channels between the two.

    Args:
        counts: rising numbers of removed channels; nothing removed is no loss.
        limit: the loss that may be borne.
        measure: measures a number of channels, and remembers it; where the loss is over the limit
            it is given, its size does not matter.
        rising: whether to take it for granted that curves do not come down again.
    """
    if limit < 0:
        return  # nothing removed is over the limit already
    low, high = -1, len(counts)
    before, loss = 0, 0.0
    while high - low > 1:
        middle = (low + high) // 2 if rising else low + 1
        known = measure(counts[middle], limit)
        if known.loss > limit:
            high = middle
        else:
            low, before, loss = middle, counts[middle], known.loss
    if high < len(counts):
        measure(counts[high], loss + (limit - loss) * (counts[high] - before))
