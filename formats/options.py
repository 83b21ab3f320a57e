"""Options of reading a model from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..core.errors import FormatError, UnsupportedError, nearest_hint

__all__ = ["FLAVOURS", "PHASES", "LoadOptions"]

FLAVOURS = ("auto", "alexeyab", "pjreddie")
"""Whose Darknet a network is for."""

PHASES = ("TEST", "TRAIN")
"""Phases of a Caffe net."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How the files of a model are read. What does not concern their format is ignored.

    Raises:
        FormatError: an option is out of range.
        UnsupportedError: the flavour is unknown.
    """

    flavour: str = "auto"
    """Darknet: the version that the network is for; versions compute a few things differently."""

    partial: bool = False
    """Darknet: accept a weights file that ends early; the rest is zero."""

    reset_seen: bool = False
    """Darknet: write a weights file that has seen no images yet, for fine-tuning."""

    phase: str = "TEST"
    """Caffe: the phase. It decides which layers the net has."""

    stages: Sequence[str] = ()
    """Caffe: a stage of the net."""

    level: int = 0
    """Caffe: the level of the net."""

    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Caffe: the shape of an input that the prototxt leaves open."""

    def __post_init__(self) -> None:
        if self.flavour not in FLAVOURS:
            raise UnsupportedError(
                f"unknown flavour '{self.flavour}'",
                hint=nearest_hint(self.flavour, FLAVOURS, f"known are {', '.join(FLAVOURS)}"),
                option="flavour",
            )
        if self.phase not in PHASES:
            raise FormatError(
                f"the phase must be {' or '.join(PHASES)}, got '{self.phase}'", option="phase"
            )
