"""How library functions tell what they are doing, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Progress", "silent", "tracked"]

T = TypeVar("T")


class Progress(Protocol):
    """Called as work goes on: `done` of `total` steps of the job `label` are behind us.

    It is called first with `done` 0 and last with `done` equal to `total`; a `total` of 0 means
    that nobody knows it. It must return quickly, and what it raises ends the work.
    """

    def __call__(self, label: str, done: int, total: int) -> None:
        """Take note of `done` of `total` steps of the job `label`."""
        ...


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


def tracked(items: Iterable[T], label: str, total: int, progress: Progress) -> Iterator[T]:
    """Yield `items`, and report each once it has been worked on."""
    progress(label, 0, total)
    done = 0
    for item in items:
        yield item
        done += 1
        progress(label, done, max(done, total) if total else 0)
    if done != total:
        progress(label, done, done)
