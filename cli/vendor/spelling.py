"""How the predecessors' command lines are spelled: `-name VALUE`, with dashes of any kind.

Source: UG1333 (commands of vai_p_caffe and vai_p_darknet, with en dashes), and gflags, which takes
`-name VALUE`, `-name=VALUE`, and the same with two hyphens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..usage import UsageError

__all__ = ["old_words", "single_dash"]

_ONE = "\u2010\u2011\u2012\u2013\u2212"
"""What word processors make of one hyphen: hyphens, a figure dash, an en dash, a minus sign."""
_TWO = "\u2014\u2015"
"""What they make of two: an em dash, a horizontal bar."""

_OPTION = re.compile(rf"([-{_ONE}{_TWO}]+)(?=[^\W\d_])")
"""The dashes at the start of an option. A negative number has a digit behind them."""

_WORD = re.compile(r"--?([^\W\d][\w-]*)(?:=(.*))?", re.DOTALL)


def old_words(arguments: Sequence[str]) -> list[str]:
    """Return a command line with hyphens where an option begins with other dashes.

    An en dash stands for one hyphen, an em dash for two. Nothing else changes.
    """
    return [_with_hyphens(argument) for argument in arguments]


def _with_hyphens(argument: str) -> str:
    found = _OPTION.match(argument)
    if found is None:
        return argument
    hyphens = sum(2 if dash in _TWO else 1 for dash in found[1])
    return "-" * min(hyphens, 2) + argument[found.end() :]


def single_dash(
    arguments: Sequence[str], names: Mapping[str, bool]
) -> tuple[dict[str, str | None], list[str]]:
    """Return the options of a command line, and the words that are none.

    `-name VALUE`, `-name=VALUE` and the same with two hyphens are taken; of an option that stands
    there twice, the last one counts, as with gflags.

    Args:
        arguments: the words, with hyphens (:func:`old_words`).
        names: what options are called, without hyphens → whether they take a value.

    Returns:
        name → its value, None for one that takes none; the other words in order.

    Raises:
        UsageError: an option is unknown, lacks its value, or takes none.
    """
    import secateur

    found: dict[str, str | None] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        option = _WORD.fullmatch(word)
        if option is None:
            rest.append(word)
            continue
        name, value = option[1], option[2]
        if name not in names:
            spelled = [f"-{known}" for known in names]
            hint = secateur.nearest_hint(f"-{name}", spelled, f"it takes {', '.join(spelled)}")
            raise UsageError(f"there is no option -{name}", hint=hint)
        if names[name]:
            value = next(words, None) if value is None else value
            if not value:
                raise UsageError(f"-{name} needs a value")
        elif value is not None:
            raise UsageError(f"-{name} takes no value")
        found[name] = value
    return found, rest
