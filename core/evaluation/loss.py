"""How much worse a network is than the one it was made from, as one figure.

With labels that is the drop of what they call for (accuracy, mean average precision, …, 0…1);
without, KL divergence in nats for classifiers and the relative error of the worst output for
other networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..data import Dataset
from ..ir.heads import is_classifier
from ..ir.network import Network
from ..progress import Progress, silent
from .evaluate import evaluate
from .fidelity import fidelity

__all__ = ["LossMeter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossMeter:
    """Measures networks against an original; made by :meth:`of`.

    Args:
        original: what others are compared with.
        data: what they are measured on.
        metric: name of the figure: that of the labels, else "KL divergence" in nats (classifiers)
            or "Output error" (‖difference‖ / ‖output‖ of the worst output).
        baseline: the original's figure; None for distances from it.
    """

    original: Network
    data: Dataset
    metric: str
    baseline: float | None

    @staticmethod
    def of(original: Network, data: Dataset, *, progress: Progress = silent) -> LossMeter:
        """Return what measures on some data.

        Raises:
            DataError: the data does not fit the network.
        """
        metric, baseline = "Output error", None
        if data.labelled:
            result = evaluate(original, data, progress=progress)
            metric, baseline = result.metric, float(result.value)
        elif is_classifier(original):
            metric = "KL divergence"
        return LossMeter(original=original, data=data, metric=metric, baseline=baseline)

    def value(self, network: Network, *, progress: Progress = silent) -> float:
        """Return the figure of a network."""
        if self.baseline is not None:
            return float(evaluate(network, self.data, progress=progress).value)
        found = fidelity(self.original, network, self.data, boxes=False, progress=progress)
        divergence = found.divergence if is_classifier(self.original) else None
        return found.error if divergence is None else divergence

    def loss(self, value: float) -> float:
        """Return by how much a figure is worse than the original's; negative for a gain."""
        return value if self.baseline is None else self.baseline - value
