"""How functions take their options: as one object, or as keyword arguments.

The options of a function are the fields of a frozen dataclass. It is the only place where they are
spelled, documented and checked: keyword arguments, flags and configuration files derive from it.
The text below a field is its help. A check that refuses a value names the field (`option` of the
error), so that a command can name the flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["options_of"]

T = TypeVar("T")


def options_of(kind: type[T], options: T | None, settings: Mapping[str, Any]) -> T:
    """Return options that a caller gave as an object, or as keyword arguments.

    Raises:
        TypeError: both are given, or a keyword is no option.
    """
    if options is None:
        return kind(**settings)
    if settings:
        raise TypeError(f"give {kind.__name__} or keywords, not both: {', '.join(settings)}")
    return options
