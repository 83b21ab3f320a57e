"""The two Darknets: they read the same files, but sometimes compute differently."""

from __future__ import annotations

from enum import Enum

from ...core.errors import UnsupportedError

__all__ = ["Flavour", "FlavourMismatch"]


class Flavour(Enum):
    """The Darknet that a network is read for."""

    ALEXEYAB = "alexeyab"
    """github.com/AlexeyAB/darknet: YOLOv4 and later; the default."""
    PJREDDIE = "pjreddie"
    """github.com/pjreddie/darknet: the original."""


class FlavourMismatch(UnsupportedError):
    """The network is only valid in the other Darknet."""
