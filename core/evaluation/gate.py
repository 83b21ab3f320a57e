"""The gate: nothing is written when accuracy drops further than the user allows."""

from __future__ import annotations

from ..data import Dataset
from ..errors import DataError, VerificationError
from ..ir.network import Network
from ..progress import Progress, silent
from .evaluate import evaluate

__all__ = ["check_drop"]


def check_drop(
    baseline: Network,
    compressed: Network,
    data: Dataset | None,
    points: float,
    *,
    progress: Progress = silent,
) -> float:
    """Return how many points of the metric are lost (negative for a gain).

    The metric is what the labels call for: top-1 accuracy, mean average precision, ….

    Args:
        baseline: the original network.
        compressed: the pruned network.
        data: labelled samples.
        points: how many points of a hundred may be lost.
        progress: told how far the measurement is.

    Raises:
        DataError: there is no labelled data.
        VerificationError: more is lost.
    """
    if data is None or not data.labelled:
        raise DataError("a limit on the accuracy drop needs labelled data", hint="an .npz with y")
    before = evaluate(baseline, data, progress=progress)
    after = evaluate(compressed, data, progress=progress)
    lost = 100.0 * (before.value - after.value)
    if lost > points:
        raise VerificationError(
            f"{before.metric} drops by {lost:.2f} points, allowed are {points:g}: nothing written",
            hint="lower the rate, or allow more",
        )
    return lost
