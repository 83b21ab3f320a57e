"""How sure a detector is of each box, before anything is decoded.

Most numbers of a head belong to boxes of nothing, and what they are does not matter as long as it
stays nothing. The objectness says which ones count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...ir.network import Head

__all__ = ["BOXES", "boxes_of", "confidence", "has_confidence"]

Settings = Mapping[str, Any]

BOXES: dict[str, Callable[[Settings], tuple[int, int]]] = {
    "anchors": lambda settings: (5 + settings["classes"], 4),
    "uncertain anchors": lambda settings: (9 + settings["classes"], 8),
    "region": lambda settings: (settings["coords"] + 1 + settings["classes"], settings["coords"]),
}
"""Kind of head with a grid of anchors → how many numbers a box has, and which is its objectness."""


def has_confidence(head: Head) -> bool:
    """Whether the boxes of a head have an objectness between 0 and 1."""
    return head.kind in BOXES and not head.settings.get("background")


def boxes_of(head: Head, output: np.ndarray) -> np.ndarray:
    """Return the numbers of every box, N×anchors×numbers×H×W.

    Args:
        head: one that :func:`has_confidence`.
        output: what it makes of a batch, laid out as the head says.
    """
    entries, _ = BOXES[head.kind](head.settings)
    if head.settings.get("layout") == "NHWC":
        output = output.transpose(0, 3, 1, 2)
    samples, _, *size = output.shape
    return output.reshape(samples, -1, entries, *size)


def confidence(head: Head, output: np.ndarray) -> np.ndarray:
    """Return the objectness of every box, N×anchors×H×W; see :func:`boxes_of`."""
    _, objectness = BOXES[head.kind](head.settings)
    return np.asarray(boxes_of(head, output)[:, :, objectness])
