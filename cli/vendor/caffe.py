"""The command lines of vai_p_caffe, which was decent_p before."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["is_old", "run"]

CONFIGURED = ("ana", "prune", "finetune")
"""Commands that take -config."""

MODELLED = ("transform", "stat")
"""Commands that take -model."""


def is_old(arguments: Sequence[str]) -> bool:
    """Whether a command line is in the old spelling."""
    if not arguments:
        return False
    command, *words = arguments
    if command in CONFIGURED:
        return _names_config(words)
    return command in MODELLED and any(
        word.partition("=")[0] in ("-model", "--model") for word in words
    )


def _names_config(words: Sequence[str]) -> bool:
    """Whether -config stands there, or a --config that is no YAML of ours."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "-config":
            return True
        if name == "--config":
            file = value if equals else "".join(words[place + 1 : place + 2])
            if file.endswith(".prototxt"):
                return True
    return False


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code."""
    raise NotImplementedError
