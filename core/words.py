"""Numbers and shapes as people read them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "count_text",
    "dims_text",
    "four_digits",
    "percent_text",
    "sample_text",
    "size_text",
    "time_text",
]

_DECIMAL = ("", " k", " M", " G", " T")


def count_text(value: float) -> str:
    """Return a count with a decimal unit: 4581600 → "4.58 M"."""
    for unit in _DECIMAL:
        if abs(value) < 1000 or unit == _DECIMAL[-1]:
            break
        value /= 1000
    digits = 0 if unit == "" else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}{unit}"


def size_text(value: float) -> str:
    """Return bytes with a decimal unit: 1384268 → "1.38 MB"."""
    text = count_text(value)
    return text + ("B" if " " in text else " B")


def percent_text(fraction: float) -> str:
    """Return a signed change in percent: -0.2989 → "-29.9 %"."""
    return f"{100 * fraction:+.1f} %"


def time_text(seconds: float) -> str:
    """Return a time with the units that tell it to two digits: 7500 → "2 h 05"."""
    if seconds < 100:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    if seconds < 6000:
        return f"{seconds / 60:.{1 if seconds < 600 else 0}f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d}"


def sample_text(regions: Sequence[int]) -> str:
    """Return what operations are counted for, given the numbers of regions of a sample."""
    if not regions:
        return "one sample"
    numbers = " or ".join(f"{number:,}" for number in regions)
    return f"one sample of {numbers} region{'' if regions == (1,) else 's'}"


def dims_text(dims: tuple[int | str, ...] | None) -> str:
    """Return a shape with × between the sizes."""
    return "×".join(str(dim) for dim in dims) if dims is not None else "-"


def four_digits(value: float) -> str:
    """Return a figure whose unit nobody knows: 0.98765 → "0.9877"."""
    return f"{value:.4g}"
