"""The exact loss of a network without some units of one group.

The values that consumers read are multiplied by a mask, behind activations and poolings. All before
the first consumer is computed once, so one pass is the part of the network behind the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Group, Groups
from ..coupling.indices import Unit
from ..data import Dataset, streamed
from ..data.part import first_part
from ..data.shards import Shard, shard_size, shards
from ..engine.cached_session import Part
from ..engine.session import Arrays
from ..engine.spread import BALANCE, spread, workers
from ..ir.footprint import value_bytes
from ..ir.network import Network
from ..suffixes.contexts import Contexts, Kept, Piece, Recomputed, kept_bytes
from ..suffixes.suffix import Suffix, make_suffix
from .output_loss import OutputError, OutputLoss, find_loss
from .registry import ScoreContext

__all__ = ["Absent", "absences"]

MEMORY = 1 << 30
"""Bytes that the values at the boundary may take; where they are more, samples are read again."""

WORST = float(np.finfo(np.float32).max)
"""The loss of outputs that are no finite numbers."""

Advance = Callable[[int], None]
"""Is told the passes that were made since the last call."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Absent:
    """Measures the network without units of one group; only the one given last is in use.

    Args:
        groups: all groups.
        group: this one.
        units: those that may be removed.
        suffix: what depends on them; None where no output does.
        contexts: the values at its boundary.
        loss: what is measured.
        base: the loss with all units, the mean over samples.
        samples: how many there are.
        jobs: as for :func:`~..engine.spread.spread`.
    """

    groups: Groups
    group: Group
    units: tuple[Unit, ...]
    suffix: Suffix | None
    contexts: Contexts
    loss: OutputLoss
    base: float
    samples: int
    jobs: int | None = None

    def changes(
        self, absent: npt.NDArray[np.bool_], advance: Advance = lambda _: None
    ) -> npt.NDArray[np.float64]:
        """Return by how much the loss grows without some units, for each choice of them.

        Args:
            absent: which of the units are missing [choices, units].
            advance: told about passes.
        """
        totals = np.zeros(len(absent))
        if self.suffix is None:
            advance(len(absent))
            return totals
        masks = [self._mask(row) for row in absent]
        for wave in self.contexts.waves(self.suffix, start=0, size=None):
            chunks = self._chunks(len(masks), len(wave))
            work = [(piece, chunk) for chunk in chunks for piece in wave]
            found = spread(
                totals_of,
                [(self.suffix, self.loss, piece, masks[chunk]) for piece, chunk in work],
                jobs=self.jobs,
                here=len(masks) == 1,
            )
            seen, told = 0, 0
            for (piece, chunk), own in zip(work, found, strict=True):
                totals[chunk] += own
                seen += piece.targets.size * len(own)
                passes = seen // max(1, self.samples)
                advance(passes - told)
                told = passes
        advance(0)
        return totals / self.samples - self.base

    def _chunks(self, masks: int, pieces: int) -> list[slice]:
        """Return parts of the masks, so that each worker gets a few calls."""
        count = max(1, min(masks, -(-BALANCE * workers(self.jobs) // pieces)))
        ends = [number * masks // count for number in range(count + 1)]
        return [slice(*pair) for pair in pairwise(ends)]

    def _mask(self, absent: npt.NDArray[np.bool_]) -> Arrays:
        assert self.suffix is not None, "there is one where passes are made"
        removed = self.groups.mask(np.array(self.units)[absent].tolist())
        return self.suffix.masks(self.groups.surviving(removed))


def totals_of(
    suffix: Suffix, loss: OutputLoss, piece: Piece, masks: Sequence[Arrays]
) -> list[float]:
    """Return the loss of some samples, their sum, for each mask; runs on any worker.

    Args:
        suffix: what depends on the masked channels.
        loss: what is measured.
        piece: the samples.
        masks: as the suffix takes them.
    """
    found = []
    for mask in masks:
        total = loss.total(suffix.compute({**piece.context, **mask}), piece.targets)
        found.append(total if np.isfinite(total) else WORST)
    return found


def absences(context: ScoreContext, samples: int) -> Iterator[Absent]:
    """Yield what measures each group that has units to remove, in the order of the graph.

    Args:
        context: what a criterion is given.
        samples: the largest number of samples, the first ones.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    assert context.data is not None, "the registry says that the criterion needs data"
    loss, network = find_loss(context)
    data = first_part(context.data, samples, network)
    groups = context.groups
    work = [
        (group, make_suffix(network, groups, group, loss.reads))
        for group in groups.groups
        if group.prunable
    ]
    work.sort(key=lambda pair: pair[1].position if pair[1] else -1)
    suffixes = [suffix for _, suffix in work if suffix is not None]
    original = _original(network, data, loss, context, suffixes)
    for group, suffix in work:
        if suffix is not None:
            original.contexts.reach(suffix)
        yield Absent(
            groups=groups,
            group=group,
            units=tuple(sorted(group.removable())),
            suffix=suffix,
            contexts=original.contexts,
            loss=original.loss,
            base=original.base,
            samples=original.samples,
            jobs=context.jobs,
        )
        if suffix is not None:
            suffix.release()


@dataclass(frozen=True, slots=True)
class _Original:
    """What the network with all units makes of the samples."""

    loss: OutputLoss
    base: float
    samples: int
    contexts: Contexts


def _original(
    network: Network,
    data: Dataset,
    loss: OutputLoss,
    context: ScoreContext,
    suffixes: Sequence[Suffix],
) -> _Original:
    """Return what the network makes of the samples, and what holds the values at boundaries."""
    values = network.values()
    ends = sum(value_bytes(values[name]) for name in {*network.inputs, *loss.reads})
    fits = (kept_bytes(network, suffixes) + ends) * data.samples <= MEMORY
    part, size = Part(network), shard_size(network)
    kept: list[Shard] = []
    base, samples = 0.0, 0
    squares = dict.fromkeys(loss.reads, 0.0)
    for shard in shards(streamed(data, "original", context.progress), size):
        outputs = part.compute(shard.inputs)
        full = shard.with_outputs({name: outputs[name] for name in loss.reads})
        samples += shard.targets.size
        for name in squares:
            squares[name] += float(np.square(outputs[name].astype(np.float64)).sum())
        if not isinstance(loss, OutputError):
            base += loss.total({}, full.targets)
        if fits:
            kept.append(full)
    if isinstance(loss, OutputError):
        loss = replace(loss, squares={name: own / samples for name, own in squares.items()})
    jobs = -1 if context.jobs is None else context.jobs
    contexts: Contexts = (
        Kept(network, kept, jobs) if fits else Recomputed(network, data, size, loss.reads, jobs)
    )
    return _Original(loss, base / samples, samples, contexts)
