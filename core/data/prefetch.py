"""Working ahead: the next batches are made while a network computes on the last one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")

AHEAD = 2
"""So many batches wait."""

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
