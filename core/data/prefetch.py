"""Working ahead: what comes next is made while what is there is used."""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from .memory import keep_freed

__all__ = ["ahead", "prefetched"]

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 2
"""So many batches wait."""

SWITCH = 2e-4
"""Seconds after which a thread that waits for Python's lock makes another one hand it over.

Threads that read, resize and run a network leave that lock again and again, for some microseconds
to some milliseconds, and then wait for it while others decode boxes, for up to the 5 ms that Python
takes. On two cores evaluation of a small detector takes 0.95 to 0.98 of the time with this, and no
less with a quarter of it."""

_END = object()


class _Failed(Generic[T]):
    """What the other thread raised."""

    def __init__(self, error: BaseException):
        self.error = error


def prefetched(items: Iterable[T]) -> Iterator[T]:
    """Yield items that another thread takes from an iterable, at most two of them ahead.

    What the iterable raises is raised here, after the items before it.
    """
    waiting: queue.Queue[object] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(thing: object) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(thing, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put(item):
                    break
            else:
                put(_END)
        except BaseException as error:  # noqa: BLE001  # it is raised again in the other thread
            put(_Failed(error))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while (thing := waiting.get()) is not _END:
            if isinstance(thing, _Failed):
                raise thing.error
            yield thing  # type: ignore[misc]  # what is neither of both is an item
    finally:
        stopped.set()
        thread.join()


def ahead(
    work: Callable[[S], T], items: Iterable[S], workers: int, waiting: int | None = None
) -> Iterator[T]:
    """Yield what `work` makes of each item, in their order, with several at work at once.

    Args:
        work: called in threads.
        items: what it is called with; taken as they are needed.
        workers: how many threads.
        waiting: how many results may wait or be at work; None for one more than threads.
    """
    keep_freed()
    waiting = workers + 1 if waiting is None else waiting
    futures: deque[Future[T]] = deque()
    with _SWITCHING():
        pool = ThreadPoolExecutor(workers)
        try:
            for item in items:
                futures.append(pool.submit(work, item))
                if len(futures) > waiting:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Switching:
    """Has threads switch every :data:`SWITCH` seconds while at least one needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._count:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH, self._before))
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    sys.setswitchinterval(self._before)


_SWITCHING = _Switching()
