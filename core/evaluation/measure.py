"""Running a network over data and adding up what a task measures there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..data.base import Dataset
from ..data.targets import Targets
from ..errors import located
from ..ir.network import Network
from ..progress import Progress, silent
from ..verify.compare import pair
from .metrics.metric import Metric
from .runner import computed, side_by_side
from .task import Task

__all__ = ["measured"]


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
