"""Batches from any source of images: read on all cores, made into inputs, broken ones left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from ..engine.threads import cores
from ..errors import DataError, Where, located
from ..ir.dims import shape_text
from ..ir.heads import image_output
from ..ir.network import Network, Preprocess
from .base import BATCH_SIZE, Batch, Frame, Objects, TargetKind, batch_size, limited, short_text
from .drawn import DrawnRegions
from .labels import pixel_classes
from .prefetch import ahead
from .preprocess import channel_order, frame_of, labels_to_input, to_input
from .probe import check_batch, probe_classes, spread

__all__ = ["MAX_BROKEN", "ImageSource", "ImageStream", "Sample", "image_input"]

T = TypeVar("T")

MAX_BROKEN = 10
"""So many unreadable samples of a set are left out; one more is an error."""

THREADS = 8
IN_A_ROW, ROW_BYTES = 4, 1 << 24
"""So many images, or bytes of inputs, are read before a network runs on them, where batches are
smaller: pixels and weights push each other out of the caches. Small detectors are evaluated in 0.9
of the time; where inputs are large it makes no difference."""

AHEAD = 2
"""Images that are worked on beyond those of a batch, a thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image as stored, and what is known about it.

    Args:
        image: 8-bit pixels, H×W×3 in the order blue, green, red, or H×W grey.
        label: its class.
        objects: what is to be found in it.
        pixels: the class of each pixel, H×W uint8.
        target: the image a network should make of it, as `image`.
        where: the file and line, or whatever it is, where that stands.
        file: path of the image, where it is a file of its own.
    """

    image: np.ndarray
    label: int | None = None
    objects: Objects | None = None
    pixels: np.ndarray | None = None
    target: np.ndarray | None = None
    where: Where
    file: str = ""


class ImageSource(Protocol):
    """Images that can be read one by one, in any order, from several threads."""

    @property
    def name(self) -> str:
        """What messages call it: its path."""
        ...

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each image."""
        ...

    def __len__(self) -> int:
        """Return how many images there are."""
        ...

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image with what is known of it; `gray` asks for one channel.

        Raises:
            DataError: it is broken, with its file and, for lists, its line.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Made:
    """A sample as the network takes it; `number` is its place in the source."""

    number: int
    input: np.ndarray
    frame: Frame
    label: int | None
    objects: Objects | None
    pixels: np.ndarray | None
    target: np.ndarray | None
    where: Where


class ImageStream:
    """The images of a source, as batches for a network.

    Inputs that hold regions of the images, if all others do, get boxes drawn at random, the same
    ones at every reading. The images have no labels then.

    Args:
        source: the images.
        network: its only input, or the only one that holds no regions (N×C×H×W), gives the size.
        preprocess: instead of the network's own.
        batch: samples a batch.
        limit: use only so many images from the start.
        ignore_label: in maps of classes, pixels of this class do not count.
        tolerant: leave out up to :data:`MAX_BROKEN` broken images; False for none.
        found_labels: where the labels were found, in words, if nobody asked for them.
        cautious: whether :attr:`caution` is still to be said.

    Raises:
        DataError: there is no image, or the network takes something else than images.
    """

    def __init__(
        self,
        source: ImageSource,
        network: Network,
        *,
        preprocess: Preprocess | None = None,
        batch: int = BATCH_SIZE,
        limit: int | None = None,
        ignore_label: int | None = None,
        tolerant: bool = True,
        found_labels: str = "",
        cautious: bool = True,
    ):
        self._drawn = DrawnRegions.of(network)
        self.source = source
        self._images = _plain(source) if self._drawn is not None else source
        self.found_labels = found_labels if self._drawn is None else ""
        self.caution = self._drawn.caution if self._drawn is not None and cautious else ""
        """What a user should know of inputs that were not read; "" where that is nothing."""
        self._network = network
        self._limit = limit
        self._probed: set[int | None] = set()
        self.name = source.name
        self.labelled = bool(self._images.target_kind)
        self.preprocess = preprocess or network.preprocess
        self._input, self._size = image_input(network, self._drawn.inputs if self._drawn else ())
        self.target = image_output(network) if self.target_kind == "values" else None
        channel_order(self.preprocess, self._size[0])
        self._batch = batch_size(network, batch)
        self.ignore_label = ignore_label
        self._tolerant = tolerant
        self._broken: list[str] = []
        with located(file=self.name):
            self.samples = limited(len(source), limit, network)

    def __repr__(self) -> str:
        """Return a short text."""
        return short_text(self)

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each image."""
        return self._images.target_kind

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in their order; empty where the source does not tell them."""
        return tuple(getattr(self.source, "classes", ()))

    @property
    def problems(self) -> tuple[str, ...]:
        """The images that the last pass could not use, and why."""
        return tuple(self._broken)

    def __iter__(self) -> Iterator[Batch]:
        """Stream the images, without those that cannot be read.

        Raises:
            DataError: none, or all but more than :data:`MAX_BROKEN`, of the images can be read.
        """
        self._broken = []
        made: list[_Made] = []
        found = False
        for sample in self._all():
            if isinstance(sample, DataError):
                self._note(sample)
                continue
            made.append(sample)
            if len(made) == self._batch:
                found = True
                yield self._stacked(made)
                made = []
        if made:
            yield self._stacked(made)
        elif not found:
            raise self._nothing()

    def unlabelled(self) -> ImageStream:
        """Return the same images without what is known of them, and without caution."""
        return ImageStream(
            _plain(self._images),
            self._network,
            preprocess=self.preprocess,
            batch=self._batch,
            limit=self._limit,
            tolerant=self._tolerant,
            cautious=False,
        )

    def part(self, numbers: Sequence[int]) -> ImageStream:
        """Return some of the images, by their numbers, as data of the same kind."""
        found = self.of(_Chosen(self.source, numbers))
        found._limit = None
        found.samples = len(numbers)
        return found

    def of(self, source: ImageSource) -> ImageStream:
        """Return another source's images, as many, read as these are."""
        found = copy(self)
        found.source, found.name = source, source.name
        found._images = _plain(source) if self._drawn is not None else source
        found._probed, found._broken = set(), []
        return found

    @staticmethod
    def plain(source: ImageSource) -> ImageSource:
        """Return the images of a source without what is known of them."""
        return _plain(source)

    def picture(self, number: int) -> Sample:
        """Return an image as stored, by its number in :attr:`~.base.Batch.numbers`.

        Raises:
            DataError: it is broken.
        """
        return self._images.read(number, gray=False)

    def probe(self, classes: int | None) -> None:
        """Look at the labels, and make inputs of the first and the last image.

        Args:
            classes: how many classes labels may be of; None for any.

        Raises:
            DataError: no image can be read, too many labels are broken, or one is no class.
        """
        if classes in self._probed:
            return
        most = MAX_BROKEN if self._tolerant else 0
        probe_classes(self._images, self.samples, classes, most)
        good = broken = 0
        for index in spread(self.samples, 2 * (MAX_BROKEN + 1)):
            made = self._make(index)
            if isinstance(made, DataError):
                broken += 1
                if broken > most:
                    raise (
                        DataError(
                            f"{broken} of {good + broken} images cannot be read; the last: {made}",
                            hint="is this the right folder or list of images?",
                        )
                        if self._tolerant
                        else made
                    )
                continue
            check_batch(self._stacked([made]), classes)
            good += 1
            if good == 2:
                break
        if not good:
            raise self._nothing()
        self._probed.add(classes)

    def each(self, work: Callable[[Batch], T], workers: int) -> Iterator[tuple[Batch, T]]:
        """Yield every batch with what `work` makes of it; each thread reads what it works on.

        Batches are smaller where images cannot be read, or where there would be too few of them.

        Args:
            work: called in several threads.
            workers: how many of them.

        Raises:
            DataError: as iterating does.
        """
        share = max(1, self.samples // (2 * workers))
        size = min(self._batch, share)
        row = min(IN_A_ROW, ROW_BYTES // (4 * math.prod(self._size)))
        count = max(1, min(row, share) // size) * size

        def task(start: int) -> tuple[list[DataError], list[tuple[Batch, T]]]:
            made = [self._make(k) for k in range(start, min(start + count, self.samples))]
            good = [sample for sample in made if isinstance(sample, _Made)]
            bad = [sample for sample in made if isinstance(sample, DataError)]
            batches = [self._stacked(good[k : k + size]) for k in range(0, len(good), size)]
            return bad, [(batch, work(batch)) for batch in batches]

        self._broken = []
        found = False
        for bad, pairs in ahead(task, range(0, self.samples, count), workers):
            for error in bad:
                self._note(error)
            found = found or bool(pairs)
            yield from pairs
        if not found:
            raise self._nothing()

    def _all(self) -> Iterator[_Made | DataError]:
        """Yield every image in order, while threads work on the next ones."""
        threads = min(cores(), THREADS)
        return ahead(self._make, range(self.samples), threads, self._batch + AHEAD * threads)

    def _make(self, index: int) -> _Made | DataError:
        channels, height, width = self._size
        try:
            sample = self._images.read(index, gray=channels == 1)
            pixels, target = sample.pixels, sample.target
            return _Made(
                index,
                to_input(sample.image, self._size, self.preprocess),
                frame_of(sample.image, height, width, self.preprocess),
                sample.label,
                sample.objects,
                None if pixels is None
                else labels_to_input(pixels, height, width, self.preprocess),
                None if target is None or self.target is None
                else to_input(target, self.target, self.preprocess),
                sample.where,
            )  # fmt: skip
        except DataError as error:
            return error

    def _stacked(self, made: list[_Made]) -> Batch:
        kind = self.target_kind
        labels: np.ndarray | None = None
        if kind == "label":
            labels = np.array([sample.label for sample in made], np.int64)
        elif kind == "pixels":
            maps = np.stack([s.pixels for s in made if s.pixels is not None])
            labels = pixel_classes(maps, self.ignore_label)
        frames = tuple(sample.frame for sample in made)
        inputs = {self._input: _batched([sample.input for sample in made])}
        if self._drawn is not None:
            inputs |= self._drawn.beside([sample.number for sample in made], frames)
        return Batch(
            inputs=inputs,
            labels=labels,
            objects=tuple(s.objects for s in made if s.objects is not None)
            if kind == "objects"
            else None,
            values=np.stack([s.target for s in made if s.target is not None])
            if kind == "values"
            else None,
            frames=frames,
            places=tuple(sample.where for sample in made),
            numbers=tuple(sample.number for sample in made),
        )

    def _nothing(self) -> DataError:
        first = self._broken[0] if self._broken else f"there are none in {self.name}"
        return DataError(f"none of the images can be read; {first}")

    def _note(self, error: DataError) -> None:
        """Remember an unreadable image; raise where none may be, or it is one too many."""
        if not self._tolerant:
            raise error
        self._broken.append(str(error))
        if len(self._broken) > MAX_BROKEN:
            raise DataError(
                f"more than {MAX_BROKEN} images cannot be read; the last: {error}",
                hint="is this the right folder or list of images?",
            )


class _Unlabelled:
    """The images of a source, without what is known of them."""

    target_kind: TargetKind = ""

    def __init__(self, source: ImageSource):
        self._source = source
        self.name = source.name

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image."""
        found = self._source.read(index, gray=gray)
        return Sample(image=found.image, where=found.where, file=found.file)


class _Chosen:
    """Some of the images of a source."""

    def __init__(self, source: ImageSource, numbers: Sequence[int]):
        self._source, self._numbers = source, tuple(numbers)
        self.name = source.name
        self.classes: tuple[str, ...] = tuple(getattr(source, "classes", ()))

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each image."""
        return self._source.target_kind

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image with what is known of it."""
        return self._source.read(self._numbers[index], gray=gray)

    def unlabelled(self) -> _Chosen:
        """Return the same images without what is known of them."""
        return _Chosen(_plain(self._source), self._numbers)


def _plain(source: ImageSource) -> ImageSource:
    """Return the images of a source without what is known of them."""
    if not source.target_kind:
        return source
    own: Callable[[], ImageSource] | None = getattr(source, "unlabelled", None)
    return own() if own is not None else _Unlabelled(source)


def _batched(arrays: list[np.ndarray]) -> np.ndarray:
    """Return arrays as one with the samples along axis 0; a single one is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def image_input(network: Network, drawn: Collection[str] = ()) -> tuple[str, tuple[int, int, int]]:
    """Return the name of the only input and its channels, height and width.

    Args:
        network: the network.
        drawn: inputs that images need not feed.

    Raises:
        DataError: there are several inputs, or the only one takes no images.
    """
    shapes = network.inputs
    hint = "give the inputs as arrays in a .npz file"
    taking = [name for name in shapes if name not in drawn]
    if len(taking) != 1:
        made = [name for border in network.borders if border.outputs for name in border.inputs]
        fed = [name for name in shapes if name not in made]
        if len(fed) == 1:
            lacking = ", ".join(f"'{name}'" for name in shapes if name not in fed)
            raise DataError(
                f"images feed input '{fed[0]}' alone, and {lacking} lack data", hint=hint
            )
        names = ", ".join(f"'{name}'" for name in shapes)
        raise DataError(f"images feed one input, but the network has {names}", hint=hint)
    name, shape = taking[0], shapes[taking[0]]
    sizes = tuple(size for size in shape[1:] if isinstance(size, int))
    if len(shape) != 4 or len(sizes) != 3:
        raise DataError(f"input '{name}' ({shape_text(shape)}) takes no images", hint=hint)
    return name, (sizes[0], sizes[1], sizes[2])
