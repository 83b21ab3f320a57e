"""Whether an array fits the shape of an input, and shapes as people write them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set

__all__ = ["sample_fits", "shape_text", "smaller_batches"]

FEW = 8
"""Samples that a smaller batch has at most."""


def sample_fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Return whether an array has the shape that an input wants, up to the batch (axis 0)."""
    return len(shape) == len(wanted) and all(
        has == want or isinstance(want, str)
        for has, want in zip(shape[1:], wanted[1:], strict=True)
    )


def shape_text(shape: tuple[int | str, ...]) -> str:
    """Return a shape as people write it: "N×3×32×32"."""
    return "×".join(str(dim) for dim in shape) or "a single number"


def smaller_batches(sizes: Set[int]) -> Iterator[dict[int, int]]:
    """Yield replacements of batch sizes: in their proportions where these are simple, then few."""
    common = math.gcd(*sizes)
    for few in (1, 2, 4, FEW):
        if max(sizes) // common * few <= FEW:
            yield {size: size // common * few for size in sizes}
    for few in (FEW, 2, 1):
        yield {size: min(size, few) for size in sizes}
