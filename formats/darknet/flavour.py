"""The two Darknets: the same files, not always the same arithmetic."""

from __future__ import annotations

from enum import Enum

from ...core.errors import UnsupportedError

__all__ = ["Flavour", "FlavourMismatch"]


class Flavour(Enum):
    """Whose Darknet a network is read for."""

    ALEXEYAB = "alexeyab"
    """github.com/AlexeyAB/darknet: YOLOv4 and what followed; the default."""
    PJREDDIE = "pjreddie"
    """github.com/pjreddie/darknet: the original."""


class FlavourMismatch(UnsupportedError):
    """The network only makes sense in the other Darknet."""
