"""The same work many times: on threads of this machine, or wherever joblib is told to compute.

A cluster of Dask computes it where the caller says so (`joblib.parallel_config(backend="dask")`).
Machines of a cluster come and go. Dask itself repeats what a lost one was computing, but it cannot
bring back the arguments that lay there alone: then the calls without a result are sent once more.
Results have the order of the calls, and what a call computes does not depend on where it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend

from ..errors import DataError
from .carried import Answer, CarriedCall, value_of
from .placement import devices
from .threads import limited

__all__ = ["BALANCE", "on_cluster", "shared_out", "spread", "spread_in_any_order", "workers"]

BALANCE = 4
"""Calls for each worker, so that none waits long for the last one."""

LOSSES = 4
"""Times in a row that calls may be lost without one of them coming back. Dask itself gives up at
the same number of workers that die while they compute one call."""

TOGETHER = 4 << 30
"""Bytes that calls on this machine may take together beside what they share."""

T = TypeVar("T")


def on_cluster() -> bool:
    """Whether joblib computes on a cluster of Dask."""
    backend, _ = get_active_backend()
    return type(backend).__name__.startswith("Dask")


def workers(jobs: int | None) -> int:
    """Return how many calls are made at once.

    Args:
        jobs: threads of this machine; None for all cores. A cluster has threads of its own.

    Raises:
        DataError: the cluster is gone, or has no worker.
    """
    try:
        return int(effective_n_jobs(-1 if jobs is None else jobs))
    except (OSError, TimeoutError) as error:
        if not on_cluster():
            raise
        raise DataError(
            "the cluster has no worker", hint="start workers beside the scheduler: dask worker …"
        ) from error


def shared_out(jobs: int | None, calls: int, each: float) -> tuple[int | None, int]:
    """Return how many calls to make at once, and how many threads each of them has.

    Where calls are few, or large so that :data:`TOGETHER` holds few, each gets several threads.

    Args:
        jobs: as for :func:`workers`.
        calls: how many there are.
        each: bytes that one takes.
    """
    if on_cluster():
        return jobs, 1
    threads = workers(jobs)
    at_once = int(max(1, min(threads, calls, TOGETHER // max(1.0, each))))
    return at_once, threads // at_once


def spread(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    *,
    jobs: int | None,
    threads: int | None = 1,
    here: bool = False,
) -> Iterator[T]:
    """Yield what a function returns for each of some arguments, in their order.

    Args:
        function: can be sent to other processes, as its arguments can. An argument that is large
            and that several calls share is sent once where its `__sizeof__` says that it is large.
        calls: the arguments of each call.
        jobs: as for :func:`workers`.
        threads: of this library's own in each call (:func:`~.threads.cores`); None for all cores.
        here: whether to stay on this machine: so little work is not worth sending what it needs.

    Raises:
        DataError: the cluster has no worker, or its workers end again and again at this work.
    """
    numbered = spread_in_any_order(
        function, calls, jobs=jobs, threads=threads, here=here, ordered=True
    )
    return (result for _, result in numbered)


def spread_in_any_order(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    *,
    jobs: int | None,
    threads: int | None = 1,
    here: bool = False,
    ordered: bool = False,
) -> Iterator[tuple[int, T]]:
    """Yield the number of a call and what it returned, as soon as that is there.

    Args:
        function: as for :func:`spread`.
        calls: likewise.
        jobs: likewise.
        threads: likewise.
        here: likewise.
        ordered: whether results keep the order of the calls.

    Raises:
        DataError: as for :func:`spread`.
    """
    waiting, lost = dict(enumerate(calls)), 0
    chosen = devices()  # joblib makes the calls in threads of its own
    while waiting:
        workers(jobs)
        if on_cluster():
            _hear_of_errors(get_active_backend()[0])
        parallel = Parallel(
            n_jobs=-1 if jobs is None else jobs,
            prefer="threads",
            require="sharedmem" if here else None,
            return_as="generator" if ordered else "generator_unordered",
        )
        found: Iterator[tuple[int, Answer[T]]] = parallel(
            delayed(_called)(number, threads, CarriedCall(function, chosen, number), *call)
            for number, call in list(waiting.items())
        )
        try:
            for number, answer in found:
                del waiting[number]
                lost = 0
                yield number, value_of(answer, chosen)
        except Exception as error:
            if not _is_loss(error):
                raise
            lost += 1
            if lost == LOSSES:
                raise _given_up() from error


def _called(
    number: int, threads: int | None, function: Callable[..., T], *arguments: Any
) -> tuple[int, T]:
    """Make one call, on any worker. What it spreads in turn stays there."""
    if not on_cluster():
        with limited(threads):
            return number, function(*arguments)
    with parallel_config(backend="threading"), limited(threads):
        return number, function(*arguments)


def _hear_of_errors(backend: Any) -> None:
    """Let joblib hear of calls that Dask gives up.

    joblib 1.6 calls back for results alone, so it would wait for such a call for ever.

    Args:
        backend: that of Dask.
    """
    name = "submit" if hasattr(backend, "submit") else "apply_async"  # its name before joblib 1.5
    if name in vars(backend):
        return
    plain = getattr(backend, name)

    def submit(function: Any, callback: Callable[[Any], Any]) -> Future[Any]:
        def hear(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                callback(error)

        found: Future[Any] = plain(function, callback)
        found.add_done_callback(hear)
        return found

    setattr(backend, name, submit)


def _is_loss(error: Exception) -> bool:
    """Whether an error says that arguments are gone with the worker that held them.

    Raises:
        DataError: it says that Dask has given a call up.
    """
    if not on_cluster():
        return False
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        raise _given_up() from error
    return isinstance(error, CancelledError)


def _given_up() -> DataError:
    return DataError(
        "the workers of the cluster end at this work, again and again",
        hint="their logs say why; most often they lack memory",
    )
