"""How functions take their options: as one object, or as keyword arguments.

The options of a function are the fields of a frozen dataclass. It is the only place where they are
spelled, documented and checked: keyword arguments, flags and configuration files derive from it.
The text below a field is its help. A check that refuses a value names the field (`option` of the
error), so that a command can name the flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from .errors import PlanError, names_hint

__all__ = ["OptionError", "options_of"]

T = TypeVar("T")


class OptionError(PlanError, TypeError):
    """A keyword is no option, or its value is of another type."""


def options_of(kind: type[T], options: T | None, settings: Mapping[str, Any]) -> T:
    """Return options that a caller gave as an object, or as keyword arguments.

    Raises:
        OptionError: both are given, a keyword is no option, or a value is of another type.
    """
    if options is not None:
        if settings:
            given = ", ".join(settings)
            raise OptionError(f"give {kind.__name__} or keywords, not both: {given}")
        if not isinstance(options, kind):
            raise OptionError(f"options are {kind.__name__}, not {type(options).__name__}")
        return options
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in settings:
        if name not in known:
            raise OptionError(
                f"there is no option '{name}' of {kind.__name__}", hint=names_hint(name, known)
            )
    try:
        return kind(**settings)
    except (TypeError, ValueError, AttributeError) as error:
        raise OptionError(f"{kind.__name__}: {error}") from error
