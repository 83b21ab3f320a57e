"""The unchanged network on all samples: what it is worth, and what every point starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from joblib import Parallel, delayed

from ..data import Dataset, streamed
from ..data.shards import Fingerprint, Shard, shard_size, shards
from ..data.targets import Targets
from ..engine.cached_session import Part
from ..engine.padding import for_speed
from ..engine.spread import workers
from ..evaluation.metrics.metric import Metric
from ..evaluation.task import Task, merged
from ..ir.network import Network
from ..progress import Progress
from ..suffixes.contexts import AHEAD

__all__ = ["Original", "measure_original"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """What one pass over the data tells about the unchanged network.

    Args:
        task: what is measured.
        shards: all samples; without inputs and outputs where these do not fit into memory.
        kept: whether they do.
        metrics: of each shard.
        value: the figure; None where only differences from the network mean something.
        fingerprint: digest of all samples.
    """

    task: Task
    shards: tuple[Shard, ...]
    kept: bool
    metrics: tuple[Metric, ...]
    value: float | None
    fingerprint: str

    @property
    def targets(self) -> list[Targets]:
        """What the outputs of each shard are compared with."""
        return [shard.targets for shard in self.shards]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(shard.targets.size for shard in self.shards)


def measure_original(
    network: Network, data: Dataset, task: Task, *, memory: int, jobs: int, progress: Progress
) -> Original:
    """Run the unchanged network over the data once.

    Args:
        network: the network.
        data: the samples.
        task: what is measured.
        memory: bytes that inputs and outputs of all samples may take.
        jobs: threads, as joblib counts them.
        progress: told about every batch.

    Raises:
        DataError: the data is broken or does not fit the network.
    """
    part = Part(for_speed(network))
    fingerprint = Fingerprint()
    found: list[Shard] = []
    metrics: list[Metric] = []
    held, kept = 0, True
    source = shards(streamed(data, "original", progress), shard_size(network))
    for wave in _waves(source, AHEAD * workers(jobs)):
        # Every sample is looked at once: shipping it elsewhere would cost more than it saves.
        parallel = Parallel(n_jobs=jobs, require="sharedmem")
        computed = parallel(delayed(part.compute)(shard.inputs) for shard in wave)
        for shard, outputs in zip(wave, computed, strict=True):
            fingerprint.add(shard)
            full = shard.with_outputs({name: outputs[name] for name in task.outputs})
            metric = task.make_metric()
            metric.update(outputs, full.targets)
            metrics.append(metric)
            held += sum(array.nbytes for array in (*shard.inputs.values(), *outputs.values()))
            found.append(full)
        if held > memory:
            kept = False
            found = [_bare(shard) for shard in found]
    return Original(
        task=task,
        shards=tuple(found),
        kept=kept,
        metrics=tuple(metrics),
        value=None if task.needs_original else float(merged(task, metrics).compute().value),
        fingerprint=fingerprint.text,
    )


def _waves(source: Iterable[Shard], size: int) -> Iterator[list[Shard]]:
    remaining = iter(source)
    while wave := list(islice(remaining, size)):
        yield wave


def _bare(shard: Shard) -> Shard:
    """Return a shard without its large arrays."""
    return Shard(inputs={}, targets=replace(shard.targets, outputs={}))
