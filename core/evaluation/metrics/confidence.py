"""How sure a detector is of each box, before anything is decoded.

Most numbers of a head belong to boxes of nothing, and what they are does not matter as long as it
stays nothing. The objectness says which ones count.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from ...ir.heads import GridHead, Head

__all__ = ["boxes_of", "confidence", "has_confidence"]


def has_confidence(head: Head) -> TypeGuard[GridHead]:
    """Whether the boxes of a head have an objectness between 0 and 1."""
    return isinstance(head, GridHead) and head.has_objectness


def boxes_of(head: GridHead, output: np.ndarray) -> np.ndarray:
    """Return the numbers of every box, N×anchors×numbers×H×W.

    Args:
        head: one that :func:`has_confidence`.
        output: what it makes of a batch, laid out as the head says.
    """
    if head.channels_last:
        output = output.transpose(0, 3, 1, 2)
    samples, _, *size = output.shape
    return output.reshape(samples, -1, head.entries, *size)


def confidence(head: GridHead, output: np.ndarray) -> np.ndarray:
    """Return the objectness of every box, N×anchors×H×W; see :func:`boxes_of`."""
    return np.asarray(boxes_of(head, output)[:, :, head.objectness])
