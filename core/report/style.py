"""The style sheet of pages: light and dark, wide and narrow, on screens and on paper."""

from __future__ import annotations

from pathlib import Path

__all__ = ["style"]


def style() -> str:
    """Return the style sheet."""
    path = Path(__file__).parent / "templates" / "style.css"
    return path.read_text(encoding="utf-8")
