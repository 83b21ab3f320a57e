"""What every source of samples looks like to the rest of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from ..brief import brief
from ..errors import DataError, Where
from ..ir.footprint import peak_bytes
from ..ir.network import Network
from ..progress import Progress, silent
from .prefetch import prefetched

__all__ = [
    "BATCH_SIZE",
    "Batch",
    "Dataset",
    "Frame",
    "Objects",
    "ParallelDataset",
    "TargetKind",
    "TypedDataset",
    "batch_size",
    "first_batch",
    "fixed_batch",
    "limited",
    "reported",
    "short_text",
    "streamed",
    "target_kind",
]

T = TypeVar("T")

TargetKind = Literal["", "label", "objects", "pixels", "values"]
"""What is known of each sample: nothing, its class, the objects in it, the class of each pixel, or
the values that the network should compute."""

BATCH_SIZE = 16
"""Samples a batch where nobody says otherwise."""

BATCH_BYTES = 1 << 29
"""Bytes of a network's values that a batch may take while it runs: large images go one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The size of an image in pixels, and where it lies in the input made of it.

    `left`, `top`, `right`, `bottom` are the edges of the whole image in the input, in parts of the
    input's size: 0, 0, 1, 1 where it was stretched, inside if letterboxed, outside if cropped.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes (n×4: x0, y0, x1, y1), given in parts of the input, in image pixels."""
        offset = np.array([self.left, self.top, self.left, self.top])
        wide, high = self.width / (self.right - self.left), self.height / (self.bottom - self.top)
        return np.asarray((boxes - offset) * np.array([wide, high, wide, high]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects:
    """What is to be found in one image.

    Args:
        boxes: n×4 float64: x0, y0, x1, y1 in pixels of the image as stored.
        classes: n int64, counted from 0.
        ignored: n bool: objects that need not be found (difficult ones, crowds).
        crowd: n bool: boxes around many objects, of which detections may find any number.
    """

    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(self, f"{len(self.classes)} boxes", f"{int(self.ignored.sum())} ignored")

    @property
    def counting(self) -> np.ndarray:
        """The classes of the objects that are to be found."""
        return np.asarray(self.classes[~self.ignored])

    @staticmethod
    def of(
        rows: Sequence[tuple[int, float, float, float, float]],
        ignored: Sequence[bool] = (),
        crowd: Sequence[bool] = (),
    ) -> Objects:
        """Return objects from rows of class, x0, y0, x1, y1."""
        table = np.asarray(rows, np.float64).reshape(-1, 5)
        return Objects(
            boxes=table[:, 1:].copy(),
            classes=table[:, 0].astype(np.int64),
            ignored=np.asarray(ignored or [False] * len(table), bool),
            crowd=np.asarray(crowd or [False] * len(table), bool),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some samples, ready to be fed to a network.

    Args:
        inputs: input name → array with the samples along axis 0 (N×C×H×W float32).
        labels: one class number a sample (N, int64) or a pixel (N×H×W, int64; 255 and negative
            ones do not count), or None where they are unknown.
        objects: what is to be found in each image, for detectors.
        values: what the network should compute (N×…, float32), for regression.
        frames: the images the samples were made of, None where they were no images.
        places: the file and line with the targets of each sample, for messages; None where nobody
            knows.
        mixture: for training on mixed images: the classes in each sample and their shares, which
            sum to 1 (two arrays N×M, int64 and float32; unused places have share 0). `labels` are
            the classes with the largest shares then.
        numbers: which images of the dataset the samples are, for those that want to see them; None
            where nobody knows.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    objects: tuple[Objects, ...] | None = None
    values: np.ndarray | None = None
    frames: tuple[Frame, ...] | None = None
    places: tuple[Where, ...] | None = None
    mixture: tuple[np.ndarray, np.ndarray] | None = None
    numbers: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self, f"{self.size} samples", f"targets {self.target_kind or 'none'}", *self.inputs
        )

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    @property
    def target_kind(self) -> TargetKind:
        """What is known of the samples."""
        if self.objects is not None:
            return "objects"
        if self.values is not None:
            return "values"
        if self.labels is not None:
            return "pixels" if self.labels.ndim > 1 else "label"
        return ""

    def first(self, count: int) -> dict[str, np.ndarray]:
        """Return the inputs of the first samples."""
        return self.part(0, min(count, self.size))

    def part(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the inputs of some samples; some have several rows a sample (regions)."""
        return {
            name: rows[len(rows) * start // self.size : len(rows) * stop // self.size]
            for name, rows in self.inputs.items()
        }


@runtime_checkable
class Dataset(Protocol):
    """Samples that can be streamed any number of times, always in the same order.

    Only a few batches are in memory at any time.
    """

    @property
    def name(self) -> str:
        """What messages call it: its path, or what it is."""
        ...

    @property
    def samples(self) -> int:
        """How many samples one pass yields at most (unreadable images are left out)."""
        ...

    @property
    def labelled(self) -> bool:
        """Whether batches have something to measure against: labels, objects or values."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last pass had to leave out, and why: one line each."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Stream all samples once.

        Raises:
            DataError: the data is broken.
        """
        ...


@runtime_checkable
class TypedDataset(Dataset, Protocol):
    """A dataset that says what its samples have to be measured against, before any is read."""

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each sample; "" where the dataset is not `labelled`."""
        ...


@runtime_checkable
class ParallelDataset(Protocol):
    """A dataset whose batches can be made and worked on in the same thread, several at once."""

    def each(self, work: Callable[[Batch], T], workers: int) -> Iterator[tuple[Batch, T]]:
        """Yield every batch with what `work` makes of it, in their order.

        Args:
            work: called in several threads.
            workers: how many of them.

        Raises:
            DataError: the data is broken.
        """
        ...


def short_text(data: TypedDataset) -> str:
    """Return what a dataset prints itself as: its name, its size, and what is known of samples."""
    known = f"labels: {data.target_kind or 'none'}"
    return brief(data, repr(data.name), f"{data.samples} samples", known)


def target_kind(dataset: Dataset) -> TargetKind:
    """Return what is known of each sample; the first batch is read where the dataset does not say.

    Raises:
        DataError: the data is broken.
    """
    if not dataset.labelled:
        return ""
    if isinstance(dataset, TypedDataset):
        return dataset.target_kind
    return first_batch(dataset).target_kind


def first_batch(dataset: Dataset) -> Batch:
    """Return the first samples.

    Raises:
        DataError: the data is broken, or there is none.
    """
    for batch in dataset:
        return batch
    raise DataError(f"there are no samples in {dataset.name}")


def streamed(dataset: Dataset, label: str, progress: Progress = silent) -> Iterator[Batch]:
    """Yield all batches and report the samples that have been worked on.

    The next batches are made in another thread meanwhile.

    Raises:
        DataError: the data is broken, or there is none.
    """
    pairs = ((batch, None) for batch in prefetched(dataset))
    return (batch for batch, _ in reported(dataset, pairs, label, progress))


def reported(
    dataset: Dataset, pairs: Iterable[tuple[Batch, T]], label: str, progress: Progress = silent
) -> Iterator[tuple[Batch, T]]:
    """Yield the batches of a dataset with what was made of them, and report the samples done.

    Raises:
        DataError: there is no batch.
    """
    done = 0
    progress(label, 0, dataset.samples)
    for batch, made in pairs:
        yield batch, made
        done += batch.size
        progress(label, done, max(done, dataset.samples))
    if not done:
        raise DataError(f"there are no samples in {dataset.name}")
    if done < dataset.samples:
        progress(label, done, done)


def fixed_batch(network: Network) -> int | None:
    """Return the number of samples a network insists on, None where it takes any number."""
    sizes = [shape[0] for shape in network.inputs.values() if shape]
    return next((size for size in sizes if isinstance(size, int)), None)


def batch_size(network: Network, wanted: int) -> int:
    """Return the multiple of the network's own batch that is nearest below `wanted`.

    It is less where the values of that many samples would not fit into :data:`BATCH_BYTES`.

    Raises:
        DataError: `wanted` is not positive.
    """
    if wanted < 1:
        raise DataError(f"a batch must hold at least one sample, not {wanted}")
    own = fixed_batch(network) or 1
    wanted = min(wanted, BATCH_BYTES // max(1, peak_bytes(network)))
    return max(1, wanted // own) * own


def limited(samples: int, limit: int | None, network: Network) -> int:
    """Return how many of `samples` to use.

    Raises:
        DataError: that is none, or no multiple of the batch that the network insists on.
    """
    if limit is not None and limit < 1:
        raise DataError(f"the limit must be at least one sample, not {limit}")
    used = samples if limit is None else min(samples, limit)
    own = fixed_batch(network) or 1
    if used % own:
        fitting = used // own * own
        hint = f"limit the data to {fitting} samples" if fitting else None
        raise DataError(
            f"network '{network.name}' takes batches of {own}, but there are {used} samples",
            hint=hint,
        )
    return used
