"""What a source of data holds: how many images of what sizes, which labels, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..engine.threads import cores
from ..errors import DataError
from ..ir.builder import Builder
from ..ir.heads import BoxHead
from ..ir.network import Network
from ..progress import Progress, silent
from .base import Dataset, TargetKind
from .images import class_folders
from .stream import ImageStream, Sample

__all__ = ["DataReport", "check_data"]

SHOWN = 1000
"""So many problems are kept."""

CHUNK = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """What was found.

    Args:
        name: the source.
        samples: how many can be read.
        targets: what is known of each.
        sizes: height and width of images → how many have it.
        labels: class → how many samples (or objects) have it.
        empty: images without any object.
        problems: what cannot be read, a line each; at most 1000.
        broken: how many cannot be read.
    """

    name: str
    samples: int
    targets: TargetKind
    sizes: dict[tuple[int, int], int]
    labels: dict[int, int]
    empty: int
    problems: tuple[str, ...]
    broken: int


def check_data(
    path: Path,
    opener: Callable[[Path, Network], Dataset],
    network: Network | None = None,
    *,
    progress: Progress = silent,
) -> DataReport:
    """Read all of a source, whatever is broken in it.

    Args:
        path: where the data is.
        opener: what opens it for a network.
        network: what it is for; None for images, which can be checked alone.
        progress: told about every sample.

    Raises:
        DataError: the source cannot be opened, or arrays are to be checked without a network.
    """
    dataset = opener(path, network) if network is not None else _alone(path, opener)
    if isinstance(dataset, ImageStream):
        return _images(dataset, progress)
    labels: Counter[int] = Counter()
    samples = 0
    targets: TargetKind = ""
    for batch in dataset:
        samples += batch.size
        targets = batch.target_kind or targets
        if batch.labels is not None:
            labels.update(batch.labels.reshape(-1).tolist())
        progress("checking", samples, dataset.samples)
    return DataReport(
        name=dataset.name, samples=samples, targets=targets, sizes={}, labels=dict(labels),
        empty=0, problems=(), broken=0,
    )  # fmt: skip


def _alone(path: Path, opener: Callable[[Path, Network], Dataset]) -> Dataset:
    """Open a source for a detector, and where that finds no labels, for a classifier."""
    if path.suffix.lower() in (".npz", ".npy", ".h5", ".hdf5"):
        raise DataError(
            "arrays can only be checked for a network",
            hint="name the files of the model behind the data",
        )
    classes = len(class_folders(path)) if path.is_dir() else 0
    if not classes:
        try:
            dataset = opener(path, _stub(0))
        except DataError:
            return opener(path, _stub(1000))
        if not isinstance(dataset, ImageStream) or dataset.target_kind:
            return dataset
    return opener(path, _stub(classes or 1000))


def _stub(classes: int) -> Network:
    """Return a network that takes colour images: a classifier, or a detector for 0 classes."""
    b = Builder("any network")
    x = b.input("data", ("N", 3, 1, 1))
    out = b.op("Tile", b.op("Flatten", x, axis=1), b.constant([1, max(1, classes)]))
    if classes:
        out = b.op("Slice", out, b.constant([0]), b.constant([classes]), b.constant([1]))
    model = b.finish({"out": out})
    heads = () if classes else (BoxHead(output="out", classes=0),)
    return Network(name="any network", model=model, heads=heads)


def _images(dataset: ImageStream, progress: Progress) -> DataReport:
    source = dataset.source
    sizes: Counter[tuple[int, int]] = Counter()
    labels: Counter[int] = Counter()
    problems: list[str] = []
    broken = empty = 0

    def read(index: int) -> Sample | DataError:
        try:
            return source.read(index, gray=False)
        except DataError as error:
            return error

    progress("checking", 0, dataset.samples)
    with ThreadPoolExecutor(min(cores(), 8)) as pool:
        for start in range(0, dataset.samples, CHUNK):
            stop = min(start + CHUNK, dataset.samples)
            for found in pool.map(_summary, pool.map(read, range(start, stop))):
                if isinstance(found, DataError):
                    broken += 1
                    if len(problems) < SHOWN:
                        problems.append(str(found))
                    continue
                size, classes = found
                sizes[size] += 1
                labels.update(classes)
                empty += not classes
            progress("checking", stop, dataset.samples)
    return DataReport(
        name=dataset.name,
        samples=sizes.total(),
        targets=source.target_kind,
        sizes=dict(sizes),
        labels=dict(labels),
        empty=empty if source.target_kind == "objects" else 0,
        problems=tuple(problems),
        broken=broken,
    )


def _summary(found: Sample | DataError) -> tuple[tuple[int, int], list[int]] | DataError:
    """Return the size of an image and the classes in it."""
    if isinstance(found, DataError):
        return found
    if found.objects is not None:
        classes = [int(number) for number in found.objects.classes]
    elif found.pixels is not None:
        classes = sorted({int(number) for number in found.pixels.ravel()[::7]})
    else:
        classes = [] if found.label is None else [found.label]
    return (int(found.image.shape[0]), int(found.image.shape[1])), classes
