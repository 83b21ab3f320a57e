"""How far a repaired network is from the original: what decides whether a repair is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..data import Dataset
from ..evaluation.kept_outputs import KeptOutputs
from ..evaluation.metrics.confidence import boxes_of, confidence, has_confidence
from ..evaluation.runner import mapped, sessions, side_by_side
from ..ir.heads import GridHead
from ..ir.network import Network
from ..progress import Progress, silent
from ..statistics.operators import Array
from ..verify.compare import Pairing, pair
from .boxes import counted

__all__ = ["ErrorMeter", "output_error"]

Outputs = Mapping[str, np.ndarray]
"""Output → its values for a batch."""


def output_error(
    original: Network, network: Network, dataset: Dataset, *, progress: Progress = silent
) -> float:
    """Return the relative error ‖original − network‖ / ‖original‖, the largest of all outputs.

    Boxes of a detector count as in :mod:`.boxes`: those that hold something as much as all.

    Args:
        original: the network before pruning.
        network: the pruned one; its inputs and outputs are paired as by :func:`.compare.pair`.
        dataset: opened for `original`.
        progress: told about every batch.

    Raises:
        DataError: the data does not fit.
        VerificationError: inputs or outputs of the networks do not match.
    """
    return ErrorMeter(original, dataset).error(network, progress=progress)


class ErrorMeter:
    """Measures networks against an original, which is computed once where its outputs are small.

    Args:
        original: the network before pruning.
        dataset: opened for `original`; every pass over it gives the same batches.
    """

    def __init__(self, original: Network, dataset: Dataset):
        self._original, self._dataset = original, dataset
        self._heads = {head.output: head for head in original.heads if has_confidence(head)}
        self._kept: tuple[Outputs, ...] | None = None

    def error(self, network: Network, *, progress: Progress = silent) -> float:
        """Return what :func:`output_error` does, and raise the same."""
        pairing = pair(self._original, network)
        errors = {name: _Error(self._heads.get(name)) for name in self._original.outputs}
        for before, after in self._outputs(network, pairing, progress):
            for name, error in errors.items():
                error.add(before[name], after[pairing.outputs[name]])
        return max(error.result() for error in errors.values())

    def _outputs(
        self, network: Network, pairing: Pairing, progress: Progress
    ) -> Iterator[tuple[Outputs, Outputs]]:
        """Yield the outputs of the original and of a network for every batch."""
        if self._kept is not None:
            (session,), workers = sessions([network], None)
            found = mapped(
                self._dataset,
                lambda batch: session.run(pairing.feeds(batch.inputs)),
                "comparing",
                workers=workers,
                progress=progress,
            )
            for before, (_, after) in zip(self._kept, found, strict=True):
                yield before, after
            return
        kept = KeptOutputs()
        for before, after in side_by_side(
            self._original, network, pairing, self._dataset, lambda _, *outputs: outputs,
            progress=progress,
        ):  # fmt: skip
            yield before, after
            kept.add(before)
        self._kept = kept.found


class _Error:
    """Sums over all samples of one output, one a share of it that counts on its own: an anchor.

    Args:
        head: what says where a box is; None where all numbers count alike.
    """

    def __init__(self, head: GridHead | None):
        self._head = head
        self._boxes = 0
        self._sure: Array = np.zeros(1)
        self._distance: Array = np.zeros((2, 1))
        self._norm: Array = np.zeros((2, 1))

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take in one batch."""
        with np.errstate(invalid="ignore", over="ignore"):  # the sum says so itself
            off = np.square(before.astype(np.float64) - after)
            own = np.square(before, dtype=np.float64)
        sure = None
        if self._head is not None:
            sure = confidence(self._head, before).astype(np.float64)
            self._boxes += sure[:, 0].size
            self._sure = self._sure + sure.sum(axis=(0, 2, 3))
        self._distance = self._distance + self._summed(off, sure)
        self._norm = self._norm + self._summed(own, sure)

    def _summed(self, squares: Array, sure: Array | None) -> Array:
        """Return sums over all boxes of each anchor: alike, and each as often as it is sure."""
        if self._head is None or sure is None:
            return np.array([[squares.sum()], [0.0]])
        boxes = boxes_of(self._head, squares).sum(axis=2)
        return np.stack([boxes.sum(axis=(0, 2, 3)), (sure * boxes).sum(axis=(0, 2, 3))])

    def result(self) -> float:
        """Return the relative error; infinite beside NaN or infinity."""
        mean = self._sure / max(self._boxes, 1)
        distance, norm = (
            float(counted(sums[0], sums[1], mean).sum()) for sums in (self._distance, self._norm)
        )
        if not np.isfinite(distance):
            return float(np.inf)
        if not norm:
            return float(np.inf) if distance else 0.0
        return float(np.sqrt(distance / norm))
