"""Running a network over data and adding up what a task measures there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..data.base import Batch, Dataset, fixed_batch
from ..data.targets import Targets
from ..engine.session import Arrays
from ..errors import located
from ..ir.network import Network
from ..progress import Progress, silent
from ..verify.compare import pair
from .metrics.metric import Metric
from .runner import computed, mapped, sessions, side_by_side
from .task import Task

__all__ = ["measured", "measured_each"]


def measured(
    network: Network,
    dataset: Dataset,
    task: Task,
    *,
    original: Network | None = None,
    full: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> Metric:
    """Return the metric of a network on all samples.

    Args:
        network: what is measured.
        dataset: the samples.
        task: what is measured; that of `original` where there is one.
        original: the network that this one was made from. Its outputs may have other names, and
            are then paired as by :func:`~..verify.compare.pair`.
        full: whether all figures are asked for, not the main one alone.
        threads: threads of each run; None for as many runs at once as there are cores.
        progress: told about every batch.

    Raises:
        DataError: the data is broken, there is none, or it does not fit the task.
        VerificationError: inputs or outputs of the networks do not match.
    """
    make = task.make_full_metric if full else task.make_metric

    def of_batch(outputs: Mapping[str, np.ndarray], targets: Targets) -> Metric:
        metric = make()
        with located(file=dataset.name):
            metric.update(outputs, targets)
        return metric

    total = make()
    if task.needs_original:
        assert original is not None, "a task that compares networks is given both"
        pairing = pair(original, network)
        parts = side_by_side(
            original,
            network,
            pairing,
            dataset,
            lambda batch, before, after: of_batch(
                pairing.renamed(after), Targets.of(batch, before)
            ),
            threads=threads,
            progress=progress,
        )
    else:
        names = {} if original is None else _other_names(task, original, network)
        parts = computed(
            network,
            dataset,
            "evaluating",
            lambda batch, outputs: of_batch(
                {**outputs, **{name: outputs[other] for name, other in names.items()}},
                Targets.of(batch),
            ),
            threads=threads,
            progress=progress,
        )
    for part in parts:
        total.merge(part)
    return total


def _other_names(task: Task, original: Network, network: Network) -> Mapping[str, str]:
    """Return how a network calls the outputs of the original, where it does so otherwise."""
    if all(name in network.outputs for name in task.outputs):
        return {}
    outputs = pair(original, network).outputs
    return {name: outputs[name] for name in task.outputs}


def measured_each(
    network: Network,
    dataset: Dataset,
    task: Task,
    *,
    original: Network | None = None,
    progress: Progress = silent,
) -> list[Metric]:
    """Return the metric of each sample alone, in the order of the samples.

    Merged, they give what :func:`measured` gives. Where a network takes whole batches only, and its
    outputs cannot be told apart by samples, there is one metric a batch.

    Args:
        network: what is measured.
        dataset: the samples.
        task: as for :func:`measured`.
        original: likewise.
        progress: told about every batch.

    Raises:
        DataError, VerificationError: as for :func:`measured`.
    """
    pairing = pair(original, network) if original is not None else None
    before = original if task.needs_original else None
    networks = [network] if before is None else [network, before]
    (own, *others), workers = sessions(networks, None)

    def run(inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Return what both networks compute, under the names of the original."""
        if pairing is None:
            return own.run(inputs), {}
        found = pairing.renamed(own.run(pairing.feeds(inputs)))
        return found, others[0].run(inputs) if others else {}

    def of_batch(batch: Batch) -> list[Metric]:
        found = []
        for outputs, targets in _samples(batch, run, whole=fixed_batch(network) not in (None, 1)):
            metric = task.make_metric()
            with located(file=dataset.name):
                metric.update(outputs, targets)
            found.append(metric)
        return found

    pairs = mapped(dataset, of_batch, "evaluating", workers=workers, progress=progress)
    return [metric for _, found in pairs for metric in found]


def _samples(
    batch: Batch, run: Callable[[Arrays], tuple[Arrays, Arrays]], *, whole: bool
) -> Iterator[tuple[Arrays, Targets]]:
    """Yield outputs and targets of each sample of a batch.

    Args:
        batch: the samples.
        run: computes the outputs of the network, and of its original.
        whole: whether networks take whole batches only.
    """
    outputs, before = run(batch.inputs)
    size = batch.size
    apart = all(
        array.ndim and len(array) == size for array in (*outputs.values(), *before.values())
    )
    if size == 1 or (whole and not apart):
        yield outputs, Targets.of(batch, before)
        return
    for row in range(size):
        if apart:
            mine, theirs = _row(outputs, row), _row(before, row)
        else:  # outputs with a row for each box or region, or with one number for all samples
            mine, theirs = run(batch.part(row, row + 1))
        yield mine, _targets(batch, row, theirs)


def _row(arrays: Arrays, row: int) -> Arrays:
    return {name: array[row : row + 1] for name, array in arrays.items()}


def _targets(batch: Batch, row: int, outputs: Arrays) -> Targets:
    """Return the targets of one sample, with what the original computes of it."""
    one = slice(row, row + 1)
    return Targets(
        size=1,
        labels=None if batch.labels is None else batch.labels[one],
        objects=None if batch.objects is None else batch.objects[one],
        values=None if batch.values is None else batch.values[one],
        frames=None if batch.frames is None else batch.frames[one],
        places=None if batch.places is None else batch.places[one],
        outputs=outputs,
    )
