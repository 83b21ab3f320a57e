"""Training samples: drawn in a new order each epoch, augmented, and made into batches.

Everything that is drawn at random comes from the seed, the epoch and the place in the epoch alone.
So a batch is the same whoever makes it and whenever: workers may make batches in any number, and an
interrupted run goes on with the very samples it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import DataError
from ...ir.network import Network, Preprocess
from ..base import Batch, Dataset, Frame, target_kind
from ..labels import pixel_classes
from ..preprocess import as_planes, channel_order, frame_of, labels_to_input, to_input
from ..stream import MAX_BROKEN, ImageSource, ImageStream, Sample, image_input
from .colour import recoloured
from .geometry import Whole
from .memory import Remembered
from .mix import Picture, cutmix, mixup, mosaic
from .recipe import NO_AUGMENTATION, Augmentation, Mix
from .window import Window, boxes_in, cut_map, cut_out, in_input, whole

__all__ = ["TrainingSamples", "training_samples"]

EPOCH, PLACE, BATCH = 1, 2, 3
"""What a generator is for; keeps the numbers of different purposes apart."""


@dataclass(frozen=True, kw_only=True)
class TrainingSamples:
    """Samples to train on.

    Args:
        source: images, or remembered inputs.
        name: name of the network's input.
        size: its channels, height and width.
        preprocess: how pixels become inputs.
        augmentation: what is done to images at random.
        batch: samples a batch.
        seed: decides everything that is drawn.
        used: the samples that are used [used], by their number in the source.
        ignore_label: in maps of classes, pixels of this class do not count.
        target: channels, height and width of the image that the network should make of another.
    """

    source: ImageSource | Remembered
    name: str
    size: tuple[int, int, int]
    preprocess: Preprocess
    augmentation: Augmentation = NO_AUGMENTATION
    batch: int
    seed: int = 0
    used: np.ndarray
    ignore_label: int | None = None
    target: tuple[int, int, int] | None = None
    problems: dict[int, str] = field(default_factory=dict, repr=False, compare=False)
    """Samples that could not be read, and why."""

    @property
    def batches(self) -> int:
        """Whole batches of an epoch; a rest is left for another epoch's order to bring."""
        return max(1, len(self.used) // self.batch)

    def order(self, epoch: int) -> np.ndarray:
        """Return the samples in the order of an epoch [used]."""
        return self._random(EPOCH, epoch).permutation(self.used)

    def without(self, held_out: Sequence[int]) -> TrainingSamples:
        """Return the samples without some of them."""
        return replace(self, used=self.used[~np.isin(self.used, held_out)])

    def plain(self, numbers: Sequence[int]) -> Batch:
        """Return some samples as they are when the network is used, not augmented.

        Args:
            numbers: their numbers in the source.

        Raises:
            DataError: one cannot be read.
        """
        _, height, width = self.size
        found = []
        for number in numbers:
            sample = self.source.read(number, gray=self.size[0] == 1)
            if isinstance(self.source, Remembered):
                found.append(_as_stored(sample, self.source.values(number)))
                continue
            frame = frame_of(sample.image, height, width, self.preprocess)
            found.append(
                Picture(
                    image=to_input(sample.image, self.size, self.preprocess).transpose(1, 2, 0),
                    classes=() if sample.label is None else ((sample.label, 1.0),),
                    objects=None
                    if sample.objects is None
                    else in_input(sample.objects, frame, height, width),
                    pixels=None
                    if sample.pixels is None
                    else labels_to_input(sample.pixels, height, width, self.preprocess),
                    values=self._values(number, sample, whole(*sample.image.shape[:2])),
                )
            )
        return self._stacked(found, normalized=True)

    def batch_of(
        self,
        epoch: int,
        number: int,
        size: tuple[int, int] | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> Batch:
        """Return a batch of an epoch, or a part of it.

        Args:
            epoch: from 0.
            number: from 0 to `batches` − 1.
            size: height and width, instead of the network's own.
            part: which of how many equal parts of the batch.

        Raises:
            DataError: a sample cannot be read, with its file.
        """
        order, count = self.order(epoch), len(self.used)
        each = self.batch // part[1]
        own = range(part[0] * each, (part[0] + 1) * each)
        places = [(number * self.batch + place) % count for place in own]
        height, width = size or self.size[1:]
        mix = self.augmentation.mix
        chance = self._random(BATCH, epoch, number).random()
        mixed = mix.any and chance < mix.probability
        found = []
        for place in places:
            random = self._random(PLACE, epoch, place, number * self.batch // count)
            found.append(self._mixed(order, place, (height, width), random, mixed=mixed))
        return self._stacked(found)

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *purpose))

    def _mixed(
        self,
        order: np.ndarray,
        place: int,
        size: tuple[int, int],
        random: np.random.Generator,
        *,
        mixed: bool,
    ) -> Picture:
        """Return a sample, mixed with others that are drawn."""
        picture = self._picture(int(order[place]), size, random)
        mix = self.augmentation.mix
        kinds = [kind for kind in ("mosaic", "cutmix", "mixup") if getattr(mix, kind)]
        if not mixed or not kinds:
            return picture
        kind = kinds[int(random.integers(len(kinds)))]
        others = [
            self._picture(int(self.used[random.integers(len(self.used))]), size, random)
            for _ in range(3 if kind == "mosaic" else 1)
        ]
        if kind == "mosaic":
            return mosaic([picture, *others], random, bounded=mix.bounded)
        return cutmix(picture, others[0], random) if kind == "cutmix" else mixup(picture, others[0])

    def _picture(self, index: int, size: tuple[int, int], random: np.random.Generator) -> Picture:
        """Return a sample, cut out, mirrored and recoloured."""
        sample = self._read(index)
        own = sample.image.shape[0], sample.image.shape[1]
        window = self.augmentation.geometry.window(own, size, random)
        window = window.flipped(bool(self.augmentation.mirror and random.integers(2)))
        image = cut_out(sample.image, window, *size, self.augmentation.fill)
        if self.augmentation.colour is not None and image.dtype == np.uint8:
            image = recoloured(image, self.augmentation.colour.drawn(random))
        return Picture(
            image=image,
            classes=() if sample.label is None else ((sample.label, 1.0),),
            objects=None
            if sample.objects is None
            else boxes_in(sample.objects, window, own, *size),
            pixels=None if sample.pixels is None else cut_map(sample.pixels, window, *size),
            values=self._values(index, sample, window),
            shift=_shift(window, own, size),
        )

    def _read(self, index: int) -> Sample:
        """Return a sample; the next one that can be read in the place of one that cannot.

        Raises:
            DataError: more than :data:`MAX_BROKEN` samples cannot be read.
        """
        start = int(np.searchsorted(self.used, index))
        for place in range(start, start + MAX_BROKEN + 1):
            number = int(self.used[place % len(self.used)])
            try:
                return self.source.read(number, gray=self.size[0] == 1)
            except DataError as error:
                self.problems[number] = str(error)
                if len(self.problems) > MAX_BROKEN:
                    raise
        raise DataError(f"more than {MAX_BROKEN} samples one after another cannot be read")

    def _values(self, index: int, sample: Sample, window: Window) -> np.ndarray | None:
        """Return what the network should compute of a sample, where that is known."""
        if sample.target is None or self.target is None:
            return self.source.values(index) if isinstance(self.source, Remembered) else None
        image = sample.target[:, ::-1] if window.mirrored else sample.target
        return to_input(image, self.target, self.preprocess)

    def _stacked(self, pictures: Sequence[Picture], *, normalized: bool = False) -> Batch:
        """Return pictures as a batch; their objects are given in pixels of the input."""
        height, width = pictures[0].image.shape[:2]
        labels, mixture = _labels(pictures)
        if pictures[0].pixels is not None:
            maps = np.stack([p.pixels for p in pictures if p.pixels is not None])
            labels = pixel_classes(maps, self.ignore_label)
        objects = tuple(p.objects for p in pictures if p.objects is not None)
        frames = (Frame(width=width, height=height),) * len(pictures)
        return Batch(
            inputs={self.name: np.stack([self._input(p.image, normalized) for p in pictures])},
            labels=labels,
            objects=objects or None,
            values=np.stack(values) if (values := _known(p.values for p in pictures)) else None,
            frames=frames if objects else None,
            mixture=mixture,
        )

    def _input(self, image: np.ndarray, normalized: bool) -> np.ndarray:
        """Return an image as C×H×W float32; remembered inputs are normalised already."""
        if normalized or isinstance(self.source, Remembered):
            planes = image if image.ndim == 3 else image[:, :, None]
            return np.ascontiguousarray(planes.transpose(2, 0, 1))
        return as_planes(image.astype(np.float32), self.size[0], self.preprocess)


def _as_stored(sample: Sample, values: np.ndarray | None) -> Picture:
    """Return a remembered sample: it is an input already."""
    return Picture(
        image=sample.image,
        classes=() if sample.label is None else ((sample.label, 1.0),),
        objects=sample.objects,
        pixels=sample.pixels,
        values=values,
    )


def _known(values: Iterable[np.ndarray | None]) -> list[np.ndarray]:
    return [value for value in values if value is not None]


def _labels(
    pictures: Sequence[Picture],
) -> tuple[np.ndarray | None, tuple[np.ndarray, np.ndarray] | None]:
    """Return the main class of each picture, and the mixtures where there are any."""
    if not pictures[0].classes:
        return None, None
    most = max(len(picture.classes) for picture in pictures)
    classes = np.zeros((len(pictures), most), np.int64)
    shares = np.zeros((len(pictures), most), np.float32)
    for row, picture in enumerate(pictures):
        for column, (label, share) in enumerate(sorted(picture.classes, key=lambda c: -c[1])):
            classes[row, column], shares[row, column] = label, share
    return classes[:, 0].copy(), None if most == 1 else (classes, shares)


def _shift(
    window: Window, image: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return by how many pixels of the input the image's edges lie inside it: left, top, right,
    bottom.
    """
    height, width = window.scaled or image
    across, down = size[1] / window.width, size[0] / window.height
    left = max(0, int(-window.left * across))
    right = max(0, int((window.left + window.width - width) * across))
    if window.mirrored:
        left, right = right, left
    top = max(0, int(-window.top * down))
    return left, top, right, max(0, int((window.top + window.height - height) * down))


def training_samples(
    dataset: Dataset,
    network: Network,
    *,
    batch: int,
    augmentation: Augmentation = NO_AUGMENTATION,
    seed: int = 0,
) -> TrainingSamples:
    """Return the samples of a dataset for training.

    Images are read again for each epoch. Other data (arrays) is remembered as it is fed, and cut
    and mirrored in that form; its colours stay.

    Args:
        dataset: opened data.
        network: whose input the samples are for.
        batch: samples a batch.
        augmentation: what is done to images at random.
        seed: decides everything that is drawn.

    Raises:
        DataError: the network does not take images, or the data is broken or empty.
    """
    if batch < 1:
        raise DataError(f"a batch must hold at least one sample, not {batch}", option="batch")
    name, size = image_input(network)
    if target_kind(dataset) == "values":  # they do not follow cuts; images that are made do mirror
        images = isinstance(dataset, ImageStream)
        augmentation = replace(
            augmentation, geometry=Whole(), mix=Mix(), mirror=augmentation.mirror and images
        )
    if isinstance(dataset, ImageStream):
        preprocess = dataset.preprocess
        channel_order(preprocess, size[0])
        return TrainingSamples(
            source=dataset.source, name=name, size=size, preprocess=preprocess,
            augmentation=augmentation, batch=batch, seed=seed,
            used=np.arange(dataset.samples),
            ignore_label=dataset.ignore_label, target=dataset.target,
        )  # fmt: skip
    remembered = Remembered.of(dataset, name)
    return TrainingSamples(
        source=remembered, name=name, size=size, preprocess=network.preprocess,
        augmentation=replace(augmentation, colour=None, fill=(0.0,)), batch=batch, seed=seed,
        used=np.arange(len(remembered)),
    )  # fmt: skip
