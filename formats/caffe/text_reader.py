"""Reading a prototxt alone, to count what it computes: its weights are zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.ir.network import Network
from .caffemodel import Caffemodel
from .part import Options, part_of
from .reader import read_part

__all__ = ["load_text"]


def load_text(
    prototxt: Path,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch_norm: str = "auto",
    opaque: Sequence[str] = (),
) -> Network:
    """Read a net without its weights, to count what it computes: all of them are zero.

    Args:
        prototxt: the net.
        phase: as for :func:`load`, like all that follow.
        stages: likewise.
        level: likewise.
        input_shapes: likewise.
        batch_norm: likewise.
        opaque: likewise.

    Raises:
        FormatError: the file is broken; names the place.
        UnsupportedError: the net has a layer or a setting that is not supported.
    """
    options = Options(
        phase=phase, stages=tuple(stages), level=level, input_shapes=dict(input_shapes or {}),
        batch_norm=batch_norm, opaque=tuple(opaque), untrained=True,
    )  # fmt: skip
    nothing = Caffemodel(prototxt, memoryview(b""), ())
    return read_part(part_of(prototxt, nothing, options, prototxt.parent))
