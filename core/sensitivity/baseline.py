"""The unchanged network on all samples: what it is worth, and what every point starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from joblib import Parallel, delayed, effective_n_jobs

from ..data import Dataset, streamed
from ..data.shards import Fingerprint, Shard, shard_size, shards
from ..data.targets import Targets
from ..engine.cached_session import Part
from ..engine.padding import for_speed
from ..ir.network import Network
from ..progress import Progress
from .contexts import AHEAD
from .scorers import Evidence, Judge, find_judge

__all__ = ["Baseline", "measure_baseline"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What one pass over the data tells.

    Args:
        judge: what fits the data.
        shards: all samples; without inputs and outputs where these do not fit into memory.
        kept: whether they do.
        evidence: of each shard.
        fingerprint: digest of all samples.
    """

    judge: Judge
    shards: tuple[Shard, ...]
    kept: bool
    evidence: tuple[Evidence, ...]
    fingerprint: str

    @property
    def answers(self) -> list[Targets]:
        """What judges each shard."""
        return [shard.targets for shard in self.shards]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(shard.targets.size for shard in self.shards)

    @property
    def value(self) -> float | None:
        """The figure of the unchanged network; None where only differences mean something."""
        return self.judge.value(self.evidence, self.answers)


def measure_baseline(
    network: Network, data: Dataset, *, memory: int, jobs: int, progress: Progress
) -> Baseline:
    """Run the unchanged network over the data once.

    Args:
        network: the network.
        data: the samples.
        memory: bytes that inputs and outputs of all samples may take.
        jobs: threads, as joblib counts them.
        progress: told about every batch.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    part = Part(for_speed(network))
    fingerprint = Fingerprint()
    judge: Judge | None = None
    found: list[Shard] = []
    evidence: list[Evidence] = []
    held, kept = 0, True
    source = shards(streamed(data, "baseline", progress), shard_size(network))
    for wave in _waves(source, AHEAD * effective_n_jobs(jobs)):
        # Every sample is looked at once: shipping it elsewhere would cost more than it saves.
        parallel = Parallel(n_jobs=jobs, require="sharedmem")
        computed = parallel(delayed(part.compute)(shard.inputs) for shard in wave)
        for shard, outputs in zip(wave, computed, strict=True):
            fingerprint.add(shard)
            judge = judge or find_judge(network, shard.targets)
            full = shard.with_outputs({name: outputs[name] for name in judge.outputs})
            evidence.append(judge.evidence(outputs, full.targets))
            held += sum(array.nbytes for array in (*shard.inputs.values(), *outputs.values()))
            found.append(full)
        if held > memory:
            kept = False
            found = [_bare(shard) for shard in found]
    assert judge is not None, "streamed() raises where there is no sample"
    return Baseline(
        judge=judge,
        shards=tuple(found),
        kept=kept,
        evidence=tuple(evidence),
        fingerprint=fingerprint.text,
    )


def _waves(source: Iterable[Shard], size: int) -> Iterator[list[Shard]]:
    remaining = iter(source)
    while wave := list(islice(remaining, size)):
        yield wave


def _bare(shard: Shard) -> Shard:
    """Return a shard without its large arrays."""
    return Shard(inputs={}, targets=replace(shard.targets, outputs={}))
