"""Working ahead: the next items are made while the present one is used."""

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

ITEMS_AHEAD = 2
"""Most items that wait to be used."""

SWITCH_SECONDS = 2e-4
"""Seconds after which a thread that waits for Python's lock makes its holder release it
(sys.setswitchinterval).

Threads that read, resize and run a network release the lock again and again, for microseconds to
milliseconds. To get it back they wait while others decode boxes, for up to Python's default of
5 ms. With this interval the evaluation of a small detector takes 0.95 to 0.98 of the time on two
cores; a quarter of the interval saves no more."""

_END = object()


class _Failed(Generic[T]):
    """The exception that the other thread raised."""

    def __init__(self, error: BaseException):
        self.error = error


def prefetched(items: Iterable[T]) -> Iterator[T]:
    """Yield items that another thread takes from an iterable, :data:`ITEMS_AHEAD` of them ahead.

    An exception of the iterable is raised here, after the items before it.
    """
    waiting: queue.Queue[object] = queue.Queue(ITEMS_AHEAD)
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
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that reads
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
            yield thing  # type: ignore[misc]  # anything else is an item
    finally:
        stopped.set()
        thread.join()


def ahead(
    work: Callable[[S], T], items: Iterable[S], workers: int, waiting: int | None = None
) -> Iterator[T]:
    """Yield `work(item)` for each item in order, computed by several threads at once.

    Args:
        work: the function, called in threads.
        items: its arguments, taken from the iterable when a thread is to work on them.
        workers: number of threads.
        waiting: most results that may be unread or in work; None for one more than threads.
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
    """Sets the switch interval to :data:`SWITCH_SECONDS` while at least one caller is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._count:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_SECONDS, self._before))
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    sys.setswitchinterval(self._before)


_SWITCHING = _Switching()
