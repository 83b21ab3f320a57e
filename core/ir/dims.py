"""Whether an array fits the shape of an input, and shapes as people write them."""

from __future__ import annotations

__all__ = ["sample_fits", "shape_text"]


def sample_fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Return whether an array has the shape that an input wants, up to the batch (axis 0)."""
    return len(shape) == len(wanted) and all(
        has == want or isinstance(want, str)
        for has, want in zip(shape[1:], wanted[1:], strict=True)
    )


def shape_text(shape: tuple[int | str, ...]) -> str:
    """Return a shape as people write it: "N×3×32×32"."""
    return "×".join(str(dim) for dim in shape) or "a single number"
