"""How scores of different groups are made comparable before they are ranked together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups

__all__ = ["MEAN", "NONE", "SCALES", "normalized"]

MEAN, NONE = "mean", "none"

SCALES: Mapping[str, Callable[[npt.NDArray[np.float64]], float]] = {
    NONE: lambda _: 1.0,
    MEAN: lambda scores: float(np.abs(scores).mean()),
    "layer-l2": lambda scores: float(np.linalg.norm(scores)),
    "max": lambda scores: float(np.abs(scores).max()),
}
"""Name → by what the scores of the channels of one group that may leave are divided. Signs stay."""


def normalized(
    groups: Groups, scores: npt.NDArray[np.float64], how: str = MEAN
) -> npt.NDArray[np.float64]:
    """Return the scores of all units that may be removed, over the scale of their group [units].

    Args:
        groups: the groups.
        scores: score of each unit [units].
        how: a key of :data:`SCALES`.
    """
    found = np.zeros(groups.unit_count)
    for group in groups.groups:
        members = group.removable()
        scale = SCALES[how](scores[members]) if members else 0.0
        found[members] = scores[members] / scale if scale > 0 else 0.0
    return found
