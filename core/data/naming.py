"""Names of data that no path leads to: images made up for a network."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SYNTHETIC", "is_made", "made_name"]

SYNTHETIC = "synthetic"
"""The name of made images, alone or before a colon and what they are made of."""


def made_name(of: str) -> str:
    """Return the name of images made of something."""
    return f"{SYNTHETIC}:{of}"


def is_made(path: str | Path) -> bool:
    """Whether a path names made images: it begins like their name, and nothing is there."""
    text = str(path)
    return (text == SYNTHETIC or text.startswith(f"{SYNTHETIC}:")) and not Path(path).exists()
