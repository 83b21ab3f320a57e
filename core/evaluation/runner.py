"""Working on many batches: one a core at once, results in order.

NOTE for developers: several runs of one thread each beat one run of several threads, since small
layers do not divide well and nothing waits. Measured on two cores: a small detector 1.3×,
SqueezeNet 1.2×. Where a thread also reads the images it runs the network on, nothing is handed
over between threads, which is worth some percent with a small detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..data.base import Batch, Dataset, ParallelDataset, fixed_batch, reported
from ..data.prefetch import ahead, prefetched
from ..engine.padding import for_speed
from ..engine.session import Arrays, Session
from ..engine.threads import cores
from ..ir.network import Network
from ..progress import Progress, silent
from ..verify.compare import Pairing

__all__ = ["computed", "mapped", "sessions", "side_by_side"]

T = TypeVar("T")


def computed(
    network: Network,
    dataset: Dataset,
    label: str,
    make: Callable[[Batch, Arrays], T],
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> Iterator[T]:
    """Yield what is made of every batch and the outputs a network computes of it, in their order.

    Args:
        network: what to run.
        dataset: its inputs.
        label: what is done, for the progress.
        make: called in the thread that ran the network. One more thread for what Python computes
            would take the lock from those that read, resize and run: a small detector was
            evaluated in 0.9 of the time without it.
        threads: threads of one run at a time; None for as many runs at once as there are cores,
            of one thread each.
        progress: told about every batch.

    Raises:
        DataError: the data is broken, or there is none.
    """
    (session,), workers = sessions([network], threads)
    pairs = mapped(
        dataset,
        lambda batch: make(batch, session.run(batch.inputs)),
        label,
        workers=workers,
        progress=progress,
    )
    return (made for _, made in pairs)


def side_by_side(
    original: Network,
    network: Network,
    pairing: Pairing,
    dataset: Dataset,
    make: Callable[[Batch, Arrays, Arrays], T],
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> Iterator[T]:
    """Yield what is made of every batch and the outputs of both networks.

    Args:
        original: one network.
        network: the other one.
        pairing: which inputs and outputs belong together.
        dataset: opened for `original`.
        make: called in the thread that ran the networks, with a batch and the outputs of each
            network under its own names.
        threads: threads of each run; None for as many runs at once as there are cores.
        progress: told about every batch.

    Raises:
        DataError: the data does not fit.
    """
    (first, second), workers = sessions([original, network], threads)

    def both(batch: Batch) -> T:
        before = first.run(batch.inputs)
        return make(batch, before, second.run(pairing.feeds(batch.inputs)))

    for _, made in mapped(dataset, both, "comparing", workers=workers, progress=progress):
        yield made


def sessions(networks: Sequence[Network], threads: int | None) -> tuple[list[Session], int]:
    """Return what runs networks that take the same inputs, and how many batches at once.

    Args:
        networks: what to run.
        threads: as for :func:`computed`.
    """
    workers = 1 if threads is not None or any(map(fixed_batch, networks)) else cores()
    each = threads if workers == 1 else 1
    return [Session(for_speed(network), each) for network in networks], workers


def mapped(
    dataset: Dataset,
    work: Callable[[Batch], T],
    label: str,
    *,
    workers: int,
    progress: Progress = silent,
) -> Iterator[tuple[Batch, T]]:
    """Yield every batch with what `work` makes of it, in their order.

    Args:
        dataset: the batches.
        work: called in several threads where there are several workers.
        label: what is done, for the progress.
        workers: batches at work at once.
        progress: told about every batch.

    Raises:
        DataError: the data is broken, or there is none.
    """
    if workers > 1 and isinstance(dataset, ParallelDataset):
        pairs = dataset.each(work, workers)
    elif workers > 1:
        pairs = ahead(lambda batch: (batch, work(batch)), prefetched(dataset), workers)
    else:
        pairs = ((batch, work(batch)) for batch in prefetched(dataset))
    return reported(dataset, pairs, label, progress)
