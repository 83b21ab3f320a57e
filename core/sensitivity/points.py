"""Measuring points: the loss of a group for some numbers of removed channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from joblib import Parallel, delayed, effective_n_jobs

from ..coupling.indices import LabelMask
from ..data.shards import Answers
from ..engine.session import Arrays
from .contexts import Contexts, Piece, Wave
from .scorers import Evidence, Judge, least_loss
from .state import Known
from .suffix import Suffix

__all__ = ["Meter", "Task", "first_exceeding"]

BALANCE = 4
"""Tasks for each core, so that none waits long for the last one."""

FIRST = 8
"""A part of all shards: so many are computed before it is asked first, then twice as many."""

CHECKS = 16
"""How often, over all samples, it is asked whether a point is decided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A group that is to be measured.

    Args:
        suffix: what follows from its channels.
        surviving: number of removed channels → mask over labels.
    """

    suffix: Suffix
    surviving: Callable[[int], LabelMask]


def judged(
    suffix: Suffix,
    judge: Judge,
    piece: Piece,
    masks: Sequence[Arrays],
) -> list[Evidence]:
    """Return the evidence of one shard for some choices of channels; runs on any worker."""
    answers = piece.answers
    return [
        judge.evidence({**answers.outputs, **suffix.compute({**piece.context, **mask})}, answers)
        for mask in masks
    ]


class Meter:
    """Measures points on all cores.

    Args:
        judge: what measures.
        contexts: values at the boundaries.
        baseline: evidence of the unchanged network, shard by shard.
        answers: of all shards.
        jobs: as joblib takes them.
    """

    def __init__(
        self,
        judge: Judge,
        contexts: Contexts,
        baseline: Sequence[Evidence],
        answers: Sequence[Answers],
        jobs: int,
    ):
        self._judge = judge
        self._contexts = contexts
        self._baseline = baseline
        self._answers = answers
        self._jobs = jobs
        self.shards = len(answers)

    def measure(
        self, task: Task, counts: Sequence[int], told: Callable[[int], None]
    ) -> list[Known]:
        """Return the loss for some numbers of removed channels, from one pass over the samples.

        Args:
            task: the group.
            counts: numbers of removed channels.
            told: called with the shards × points done since the last call.
        """
        found: list[list[Evidence]] = [[] for _ in counts]
        masks = [task.suffix.masks(task.surviving(count)) for count in counts]
        for wave in self._contexts.waves(task.suffix, start=0, size=None):
            done = 0
            for evidence in self._judged(task, wave, masks):
                for one in evidence:
                    found[done % len(masks)].append(one)
                    done += 1
                told(len(evidence))
        return [
            Known(self._judge.loss(evidence, self._baseline, self._answers), at_least=False)
            for evidence in found
        ]

    def measure_until(
        self,
        task: Task,
        count: int,
        limit: float,
        evidence: list[Evidence],
        told: Callable[[int], None],
    ) -> Known:
        """Return the loss, or a bound of it as soon as it is over `limit` beyond doubt.

        Args:
            task: the group.
            count: number of removed channels.
            limit: the loss that matters.
            evidence: of the first shards where they were measured before; what is measured now is
                added.
            told: called with the shards done since the last call.
        """
        least = self._least_over(limit, evidence, after=0)
        if least is not None:
            return Known(least, at_least=True)
        masks = [task.suffix.masks(task.surviving(count))]
        # A call of joblib takes 10 ms or more, so waves must not be small where shards are many.
        size = max(2 * effective_n_jobs(self._jobs), self.shards // FIRST)
        for wave in self._contexts.waves(task.suffix, start=len(evidence), size=size):
            known = len(evidence)
            evidence.extend(one for (one,) in self._judged(task, wave, masks))
            told(len(evidence) - known)
            least = self._least_over(limit, evidence, after=known)
            if least is not None:
                return Known(least, at_least=True)
        return Known(self._judge.loss(evidence, self._baseline, self._answers), at_least=False)

    def _least_over(
        self, limit: float, evidence: Sequence[Evidence], *, after: int
    ) -> float | None:
        """Return the first bound over the limit; None where there is none.

        It is looked for at fixed places beyond the first `after` shards, so that the bound does not
        depend on how many shards were computed at once.
        """
        every = max(1, self.shards // CHECKS)
        for known in range(after + 1, min(len(evidence) + 1, self.shards)):
            if known % every == 0:
                least = least_loss(self._judge, evidence[:known], self._baseline, self._answers)
                if least > limit:
                    return least
        return None

    def _judged(self, task: Task, wave: Wave, masks: Sequence[Arrays]) -> Iterator[list[Evidence]]:
        """Yield evidence, shard by shard and within a shard mask by mask."""
        many = len(wave) >= BALANCE * effective_n_jobs(self._jobs)
        parts = [masks] if many else [[mask] for mask in masks]
        parallel = Parallel(n_jobs=self._jobs, prefer="threads", return_as="generator")
        results: Iterator[list[Evidence]] = parallel(
            delayed(judged)(task.suffix, self._judge, piece, part)
            for piece in wave
            for part in parts
        )
        yield from results


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
