"""Samples that can only be streamed, remembered so that they can be read in any order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace

import numpy as np

from ...errors import DataError, Where
from ..base import Batch, Dataset, Objects, TargetKind
from ..stream import Sample

__all__ = ["Remembered"]


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """The samples of a dataset as they are fed to the network, in a temporary file.

    Memory holds labels alone; the system reads pixels from the file as they are asked for. It
    disappears with the process.

    Args:
        name: what messages call it.
        inputs: N×H×W×C float32.
        batches: batches without inputs, for their labels.
        starts: number of the first sample of each batch.
    """

    name: str
    inputs: np.ndarray
    batches: tuple[Batch, ...]
    starts: np.ndarray
    target_kind: TargetKind

    @staticmethod
    def of(dataset: Dataset, name: str) -> Remembered:
        """Return the samples of a dataset.

        Args:
            dataset: any data.
            name: the input to remember.

        Raises:
            DataError: the data is broken or empty.
        """
        batches, starts, count = [], [], 0
        shape: tuple[int, ...] = ()
        with tempfile.TemporaryFile() as file:
            for batch in dataset:
                rows = np.ascontiguousarray(batch.inputs[name].transpose(0, 2, 3, 1), np.float32)
                shape = rows.shape[1:]
                file.write(rows.tobytes())
                starts.append(count)
                count += batch.size
                batches.append(_targets(batch))
            if not count:
                raise DataError(f"there are no samples in {dataset.name}")
            file.flush()
            # The map keeps the file, which has no name any more, after it is closed here.
            inputs = np.memmap(file, np.float32, mode="r", shape=(count, *shape))
        return Remembered(
            name=dataset.name,
            inputs=inputs,
            batches=tuple(batches),
            starts=np.array(starts),
            target_kind=batches[0].target_kind,
        )

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return a sample; its image holds inputs, H×W×C float32 (H×W for one channel)."""
        image = np.array(self.inputs[index])
        batch, row = self._place(index)
        labels = batch.labels
        return Sample(
            image=image[:, :, 0] if gray else image,
            label=int(labels[row]) if labels is not None and labels.ndim == 1 else None,
            objects=_of(batch.objects, row),
            pixels=labels[row].astype(np.uint8) if labels is not None and labels.ndim > 1 else None,
            where=batch.places[row] if batch.places else Where(file=self.name),
        )

    def values(self, index: int) -> np.ndarray | None:
        """Return what the network should compute of a sample, where that is known."""
        batch, row = self._place(index)
        return batch.values[row] if batch.values is not None else None

    def _place(self, index: int) -> tuple[Batch, int]:
        """Return the batch that holds a sample, and its row in it."""
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.batches[number], index - int(self.starts[number])


def _targets(batch: Batch) -> Batch:
    """Return what is known of a batch, with one number a sample for its inputs."""
    return replace(batch, inputs={"": np.zeros(batch.size)}, frames=None)


def _of(objects: tuple[Objects, ...] | None, row: int) -> Objects | None:
    return objects[row] if objects is not None else None
