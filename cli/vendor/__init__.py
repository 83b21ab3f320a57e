"""The predecessors' command lines: vai_p_caffe (decent_p) and vai_p_darknet, word by word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import caffe, darknet
from .spelling import old_words

__all__ = ["OldCommand", "meant", "old_words"]

OldCommand = Callable[[Sequence[str]], int]
"""Runs a command line and returns the exit code."""


def meant(arguments: Sequence[str]) -> OldCommand | None:
    """Return what runs a command line in a predecessor's spelling; None for one of our own.

    Args:
        arguments: the words, with hyphens (:func:`old_words`).
    """
    if darknet.is_old(arguments):
        return darknet.run
    if caffe.is_old(arguments):
        return caffe.run
    return None
