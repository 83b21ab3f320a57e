"""Reports of progress: library functions call a :class:`Progress` that their caller passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Progress", "detailed", "inside", "label_parts", "silent", "tracked"]

INSIDE = " › "
"""Stands in a label between a phase of the work and what is done in it."""

DETAIL = " · "
"""Stands in a label between the job and what is to be told of it now."""

T = TypeVar("T")


class Progress(Protocol):
    """A function that is called while a job runs.

    The first call has `done` 0, the last has `done` equal to `total`. A `total` of 0 means that the
    total is unknown. A label may begin with the phases that the job belongs to, and end with what
    changes from call to call; :func:`label_parts` tells them apart. The function must return
    quickly. An exception that it raises ends the job.
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


def detailed(job: str, detail: str) -> str:
    """Return the label of a job with what is to be told of it now."""
    return f"{job}{DETAIL}{detail}"


def label_parts(label: str) -> tuple[list[str], str]:
    """Return what a label consists of.

    Args:
        label: as a :class:`Progress` is called with it.

    Returns:
        the phases, the outermost first, with the job as the last; and what is to be told of the job
        now, "" for nothing.
    """
    path, _, detail = label.partition(DETAIL)
    return path.split(INSIDE), detail


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
