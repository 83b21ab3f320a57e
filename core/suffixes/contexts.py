"""The values at the boundary of a suffix, for all samples.

With enough memory, the values that later nodes read are kept for all samples and move on from group
to group, so that each node of the network runs once in all (:class:`Kept`). Where they do not fit,
the samples are read again for every group and computed up to the boundary in passing
(:class:`Recomputed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from joblib import Parallel, delayed

from ..data import Dataset
from ..data.prefetch import prefetched
from ..data.shards import Shard, shards
from ..data.targets import Targets
from ..engine.cached_session import Part
from ..engine.session import Arrays
from ..engine.spread import workers
from ..ir.footprint import value_bytes
from ..ir.network import Network
from ..ir.partial import between
from .suffix import Suffix

__all__ = ["Contexts", "Kept", "Piece", "Recomputed", "Wave", "kept_bytes"]

AHEAD = 4
"""Shards for each core in a wave where no more than needed shall be in memory."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Piece:
    """What a worker needs of one shard: its targets, and the values at the boundary."""

    targets: Targets
    context: Arrays

    def __sizeof__(self) -> int:
        # Dask sends large arguments apart from the calls, once each, and looks at this.
        arrays = (*self.context.values(), *self.targets.outputs.values())
        return 1024 + sum(array.nbytes for array in arrays)


Wave = Sequence[Piece]
"""Shards that are worked on at once."""


class Contexts(Protocol):
    """Gives the context of suffixes, shard by shard in the order of the samples."""

    def reach(self, suffix: Suffix) -> None:
        """Go to the boundary of a suffix; suffixes come in the order of their positions."""
        ...

    def waves(self, suffix: Suffix, *, start: int, size: int | None) -> Iterator[Wave]:
        """Yield the shards from number `start` on.

        The first wave has `size` shards, each further one twice as many as the one before, as far
        as memory allows; None for as many at once as it allows.
        """
        ...


class Kept:
    """Keeps the values of all samples in memory.

    Args:
        network: the whole network.
        samples: all of them, with the outputs of the unchanged network.
        jobs: threads.
    """

    def __init__(self, network: Network, samples: Sequence[Shard], jobs: int):
        self._network = network
        self._targets = [shard.targets for shard in samples]
        self._fronts = [dict(shard.inputs) for shard in samples]
        self._alive = alive_values(network)
        self._position = 0
        self._jobs = jobs
        self._suffix: Suffix | None = None
        self._contexts: list[Arrays] = []

    def waves(self, suffix: Suffix, *, start: int, size: int | None) -> Iterator[Wave]:
        """Yield the shards of the suffix that was reached."""
        if suffix is not self._suffix:
            self._contexts = self._computed(suffix.context)
            self._suffix = suffix
        pieces = list(map(Piece, self._targets, self._contexts))
        size = size or len(pieces)
        while start < len(pieces):
            yield pieces[start : start + size]
            start, size = start + size, 2 * size

    def reach(self, suffix: Suffix) -> None:
        """Compute the values before the boundary, and forget those that nobody reads any more.

        The steps are the same whatever is measured there, so that a run that goes on where another
        one ended computes the same numbers to the last bit.
        """
        assert suffix.position >= self._position, "suffixes come in the order of their positions"
        self._suffix, self._contexts = None, []
        if suffix.position > self._position:
            self._fronts = self._computed(self._alive[suffix.position])
            self._position = suffix.position

    def _computed(self, wanted: Sequence[str]) -> list[Arrays]:
        """Return values of all shards, from the front."""
        known = set(self._fronts[0])
        network = between(self._network, known, wanted)
        part = Part(network) if network.outputs else None

        def compute(front: Arrays) -> Arrays:
            fresh = part.compute(front) if part else {}
            return {name: fresh[name] if name in fresh else front[name] for name in wanted}

        # The fronts never leave this process, whatever backend the points are computed on.
        parallel = Parallel(n_jobs=self._jobs, require="sharedmem")
        found: list[Arrays] = parallel(delayed(compute)(front) for front in self._fronts)
        return found


class Recomputed:
    """Reads the samples again for every group.

    Args:
        network: the whole network.
        dataset: the samples.
        size: of a shard.
        outputs: names of the outputs that the task reads.
        jobs: threads.
    """

    def __init__(
        self, network: Network, dataset: Dataset, size: int, outputs: Sequence[str], jobs: int
    ):
        self._network = network
        self._dataset = dataset
        self._size = size
        self._outputs = outputs
        self._jobs = jobs

    def reach(self, suffix: Suffix) -> None:
        """Do nothing: nothing is kept."""

    def waves(self, suffix: Suffix, *, start: int, size: int | None) -> Iterator[Wave]:
        """Yield the shards, computed from the inputs."""
        most = AHEAD * workers(self._jobs)
        size = min(size or most, most)
        inputs = list(self._network.inputs)
        wanted = list(dict.fromkeys([*suffix.context, *self._outputs]))
        network = between(self._network, inputs, wanted)
        part = Part(network) if network.outputs else None
        parallel = Parallel(n_jobs=self._jobs, require="sharedmem")

        def compute(shard: Shard) -> Piece:
            values = {**shard.inputs, **(part.compute(shard.inputs) if part else {})}
            outputs = {name: values[name] for name in self._outputs}
            context = {name: values[name] for name in suffix.context}
            return Piece(shard.with_outputs(outputs).targets, context)

        source = islice(shards(prefetched(self._dataset), self._size), start, None)
        while wave := list(islice(source, size)):
            yield parallel(delayed(compute)(shard) for shard in wave)
            size = min(2 * size, most)


def alive_values(network: Network) -> list[list[str]]:
    """Return, for the place before each node, the values known there that are read from there on.

    Parameters are left out. Inputs and values stand in the order in which they are made.
    """
    nodes = list(network.graph)
    last: dict[str, int] = {}
    for number, node in enumerate(nodes):
        last.update((str(v.name), number) for v in node.inputs if v is not None)
    known = [str(value.name) for value in network.graph.inputs]
    found = []
    for number, node in enumerate(nodes):
        known = [name for name in known if last.get(name, -1) >= number]
        found.append(list(known))
        known.extend(str(value.name) for value in node.outputs)
    return found


def kept_bytes(network: Network, suffixes: Sequence[Suffix]) -> float:
    """Return the bytes a sample that :class:`Kept` holds at most, about."""
    sizes = {name: value_bytes(value) for name, value in network.values().items()}
    inputs = sum(sizes[name] for name in network.inputs)
    alive = alive_values(network)
    before, largest = inputs, inputs
    for suffix in suffixes:
        front = sum(sizes[name] for name in alive[suffix.position])
        context = sum(sizes[n] for n in suffix.context if n not in alive[suffix.position])
        largest = max(largest, before + front, front + context)
        before = front
    return largest
