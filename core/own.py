"""What users give in Python where others give a name: functions, and objects that are called.

Everything that chooses, records or goes on with a run knows entries by their names. So a function
becomes an entry of the registry, under its own name; a later one of this name takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import PlanError, SecateurError
from .registry import Registry, T

__all__ = ["guarded", "name_of", "named", "summary_of"]


def name_of(given: Callable[..., Any]) -> str:
    """Return what a function, or an object that is called, is called in plans and messages."""
    name: str = getattr(given, "__name__", type(given).__name__)
    return "own" if name == "<lambda>" else name


def summary_of(given: Callable[..., Any]) -> str:
    """Return the first line of what is written in a function."""
    text = (getattr(given, "__doc__", None) or "").strip()
    return text.splitlines()[0].rstrip(".") if text else "given as a function"


def named(registry: Registry[T], given: Any, made: Callable[[str, Callable[..., Any]], T]) -> str:
    """Return the name of what a user gave: a name, an entry, or a function that becomes one.

    Args:
        registry: where entries are.
        given: it.
        made: returns an entry for a name and a function.

    Raises:
        PlanError: it is none of them, or has the name of an entry that is there.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, type):
        with guarded(registry.what, given.__name__):
            given = given()
    known = next((name for name, entry in registry.items() if entry is given), None)
    if known is not None:
        return known
    if not callable(given):
        raise PlanError(
            f"a {registry.what} is a name or a function, not an object of type "
            f"{type(given).__name__}"
        )
    name = name_of(given)
    registry.lend(name, made(name, given))
    return name


@contextmanager
def guarded(what: str, name: str) -> Iterator[None]:
    """Turn what a function of a user raises into an error of the project.

    Raises:
        PlanError: the function failed; its own error is the cause.
    """
    try:
        yield
    except SecateurError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise PlanError(f"the {what} '{name}' failed: {type(error).__name__}: {text}") from error
