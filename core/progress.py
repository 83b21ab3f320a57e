"""Reports of progress: library functions call a :class:`Progress` that their caller passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["INSIDE", "Progress", "inside", "silent", "tracked"]

INSIDE = " › "
"""Stands in a label between a phase of the work and what is done in it."""

T = TypeVar("T")


class Progress(Protocol):
    """A function that is called while a job runs.

    The first call has `done` 0, the last has `done` equal to `total`. A `total` of 0 means that the
    total is unknown. Behind " · " in a label stands what changes from call to call, and before
    :data:`INSIDE` the phase that the job belongs to, as :func:`inside` puts it there. The function
    must return quickly. An exception that it raises ends the job.
    """

    def __call__(self, label: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of the job `label` are done."""
        ...


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


def inside(progress: Progress, phase: str) -> Progress:
    """Return what tells of jobs that they belong to a phase of the work.

    Args:
        progress: is told.
        phase: its name; "pass 2 of 5" says also how far the phase around it is.
    """
    if progress is silent:
        return silent

    def told(label: str, done: int, total: int) -> None:
        progress(f"{phase}{INSIDE}{label}", done, total)

    return told


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
