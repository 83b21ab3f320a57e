"""Options of reading a model from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..core.errors import FormatError, UnsupportedError, names_hint

__all__ = ["EXACTNESS", "FLAVOURS", "PHASES", "STATISTICS", "LoadOptions"]

FLAVOURS = ("auto", "alexeyab", "pjreddie")
"""Whose Darknet a network is for."""

PHASES = ("TEST", "TRAIN")
"""Phases of a Caffe net."""

STATISTICS = ("auto", "stored", "batch")
"""Statistics that Caffe's BatchNorm may normalise by."""

EXACTNESS = ("exact", "inexact")
"""What a removal must do to sums over neighbouring channels."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How the files of a model are read. What does not concern their format is ignored.

    Raises:
        FormatError: an option is out of range.
        UnsupportedError: the flavour or the kind of statistics is unknown.
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

    batch_norm: str = "auto"
    """Caffe: which statistics BatchNorm layers with use_global_stats: false take in testing. Caffe
    takes those of the batch, NVCaffe and Vitis AI the stored ones; auto decides by the file."""

    regions: int | None = None
    """Regions of a sample: layers behind region pooling run once a region, and their operations are
    counted so often. Without it, the number that the files tell, or 1."""
    opaque: Sequence[str] = ()
    """Caffe: keep layers of this type as they are: what they read becomes outputs, what they make
    inputs."""

    lrn: str = "exact"
    """Whether channels that LRN sums over their neighbours stay. inexact: they may leave; others
    become neighbours then, and outputs change by what is measured and said."""

    def __post_init__(self) -> None:
        if self.regions is not None and self.regions < 1:
            raise FormatError(
                f"there must be at least one region, not {self.regions}", option="regions"
            )
        if self.flavour not in FLAVOURS:
            raise UnsupportedError(
                f"unknown flavour '{self.flavour}'",
                hint=names_hint(self.flavour, FLAVOURS),
                option="flavour",
            )
        if self.lrn not in EXACTNESS:
            raise FormatError(
                f"LRN must be {' or '.join(EXACTNESS)}, got '{self.lrn}'", option="lrn"
            )
        if self.phase not in PHASES:
            raise FormatError(
                f"the phase must be {' or '.join(PHASES)}, got '{self.phase}'", option="phase"
            )
        if self.batch_norm not in STATISTICS:
            raise UnsupportedError(
                f"unknown statistics '{self.batch_norm}'",
                hint=f"known are {', '.join(STATISTICS)}",
                option="batch_norm",
            )
