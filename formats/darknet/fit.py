"""Changing the width and height of a map. Source: pjreddie's blas.c shortcut_cpu."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...core.errors import FormatError, UnsupportedError
from .flavour import FlavourMismatch
from .section import SectionBuilder, Size

__all__ = ["fit_map"]


def fit_map(b: SectionBuilder, x: ir.Value, new: Size, *, scaled: bool) -> ir.Value:
    """Return a map with another height and width, before it is added to a map of that size.

    Of a larger map, every n-th pixel is taken. Between the pixels of a smaller map, n − 1 zeros are
    inserted.

    Args:
        b: the builder.
        x: the map, N × channels × height × width.
        new: the new height and width; the channels stay.
        scaled: whether the sum multiplies the maps by factors other than 1.

    Raises:
        FormatError: n differs between width and height, or the network is read as AlexeyAB's and
            the sizes are no multiples of each other, so that pjreddie's flavour is unlikely.
        FlavourMismatch: AlexeyAB's Darknet only adds maps of the same size.
        UnsupportedError: the map is smaller and has factors: they apply to some pixels only.
    """
    old = b.size(x)
    pairs = list(zip(old[1:], new[1:], strict=True))
    shown = f"{old.height}×{old.width} and {new.height}×{new.width} maps"
    steps = {(a // c, c // a) for a, c in pairs}
    if len(steps) > 1:
        raise FormatError(f"{shown} cannot be added")
    if not b.pjreddie:
        even = all(max(pair) % min(pair) == 0 for pair in pairs)
        kind = FlavourMismatch if even else FormatError
        raise kind(f"{shown} cannot be added; only pjreddie's Darknet would, with strides")
    ((stride, sample),) = steps
    stride, sample = max(stride, 1), max(sample, 1)
    if scaled and sample > 1:
        raise UnsupportedError("alpha and beta with a smaller map")
    kept = [min(pair) for pair in pairs]
    ends = [(count - 1) * stride + 1 for count in kept]
    if stride > 1 or ends != [*old[1:]]:
        x = b.slice(x, [2, 3], [0, 0], ends, [stride, stride])
    if sample > 1:
        x = b.op("Unsqueeze", x, b.constant([3, 5]))
        pads = np.zeros(12, dtype=np.int64)
        pads[[9, 11]] = sample - 1
        x = b.op("Pad", x, b.constant(pads))
        x = b.op("Reshape", x, b.constant([0, -1, *(count * sample for count in kept)]))
    height, width = (c - k * sample for (_, c), k in zip(pairs, kept, strict=True))
    return b.pad(x, 0, 0, height, width) if height or width else x
