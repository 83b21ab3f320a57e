"""Short texts of objects that hold much: what a session of Python prints of them."""

from __future__ import annotations

__all__ = ["brief"]

MOST = 160
"""Characters of such a text."""


def brief(thing: object, *parts: object) -> str:
    """Return the name of an object's class, with what tells it from others.

    Args:
        thing: the object.
        parts: what is said of it, in words.
    """
    text = f"<{type(thing).__name__} {', '.join(str(part) for part in parts if str(part))}>"
    return text if len(text) <= MOST else f"{text[: MOST - 2]}…>"
