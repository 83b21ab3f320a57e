"""What may stand for a flag that names something of a registry: `--criterion help` and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["LISTINGS", "asked"]

Line = tuple[str, str]
"""A name, and what it does."""


def asked(arguments: Sequence[str]) -> str | None:
    """Return the flag whose values a command line asks for, if it does."""
    for number, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        following = [value] if equals else arguments[number + 1 : number + 2]
        if flag in LISTINGS and "help" in following:
            return flag
    return None


def _criteria() -> Iterator[Line]:
    import secateur

    yield "auto", "obs where --data is given, else l1"
    yield (
        "obs",
        "least disturbance of the outputs per operation saved; the others compensate (Hassibi and "
        "Stork, 1993; Frantar and Alistarh, 2022)",
    )
    for name, entry in sorted(secateur.CRITERIA.items()):
        yield name, f"{entry.summary} ({entry.source})"


def _allocations() -> Iterator[Line]:
    import secateur

    yield (
        "auto",
        "threshold or sensitivity with --analysis, global for obs, uniform for other criteria",
    )
    for name, entry in sorted(secateur.ALLOCATIONS.items()):
        yield name, f"{entry.summary} ({entry.source})"


def _repairs() -> Iterator[Line]:
    import secateur

    names = [entry.name for entry in secateur.find_repairs("auto", data=True)]
    yield "auto", f"{', '.join(names)}: each is kept where it helps"
    yield "none", "nothing"
    for name, entry in secateur.REPAIRS.items():
        needs = " Needs --data." if entry.needs_data else ""
        yield name, f"{entry.summary} ({entry.source}).{needs}"


def _tasks() -> Iterator[Line]:
    import secateur

    for name, entry in sorted(secateur.TASKS.items()):
        yield name, entry.summary


def _schedules() -> Iterator[Line]:
    import secateur

    for name, entry in sorted(secateur.SCHEDULES.items()):
        yield name, f"{entry.summary} ({entry.source})"


LISTINGS: Mapping[str, Callable[[], Iterator[Line]]] = {
    "--criterion": _criteria,
    "--allocation": _allocations,
    "--repair": _repairs,
    "--task": _tasks,
    "--sparsify": _schedules,
}
"""Flags and what their values may be."""
