"""Reports of progress: library functions call a :class:`Progress` that their caller passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Progress", "silent", "tracked"]

T = TypeVar("T")


class Progress(Protocol):
    """A function that is called while a job runs.

    The first call has `done` 0, the last has `done` equal to `total`. A `total` of 0 means that the
    total is unknown. Behind " · " in a label stands what changes from call to call. The function
    must return quickly. An exception that it raises ends the job.
    """

    def __call__(self, label: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of the job `label` are done."""
        ...


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


def tracked(items: Iterable[T], label: str, total: int, progress: Progress) -> Iterator[T]:
    """Yield `items`, and report each item after its use."""
    progress(label, 0, total)
    done = 0
    for item in items:
        yield item
        done += 1
        progress(label, done, max(done, total) if total else 0)
    if done != total:
        progress(label, done, done)
