"""Flags that several commands take together, declared once as the fields of a dataclass.

Typer makes the flags of a command from the parameters of its function. :func:`unbundled` gives it
a function with one parameter a field, wherever the command itself takes the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["unbundled"]


def unbundled(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of its dataclass parameters as parameters.

    Args:
        command: a function; each parameter whose type is a dataclass stands for the fields of it,
            which must have defaults and names that no other parameter has.
    """
    signature = inspect.signature(command, eval_str=True)
    bundles: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and dataclasses.is_dataclass(parameter.annotation)
    }

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in bundles.items()
        }
        command(**values, **made)

    parameters = [
        flag
        for name, parameter in signature.parameters.items()
        for flag in (_fields(bundles[name]) if name in bundles else (parameter,))
    ]
    # Typer asks both, and would look through to the command itself if it saw that it is wrapped.
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {flag.name: flag.annotation for flag in parameters}
    del wrapper.__wrapped__
    return wrapper


def _fields(kind: type[Any]) -> Iterator[inspect.Parameter]:
    """Yield the fields of a dataclass as parameters."""
    types = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        assert field.default is not dataclasses.MISSING, f"{field.name} has no default"
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=types[field.name],
        )
