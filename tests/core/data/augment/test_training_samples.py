"""Training samples: the same whoever makes them, with labels that follow their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur import load, open_dataset
from secateur.core.data.augment.colour import Distortion, Shade, recoloured
from secateur.core.data.augment.geometry import (
    Geometry,
    Jitter,
    Placed,
    RandomCrop,
    ResizedCrop,
    Shift,
    TurnedCrop,
    Whole,
)
from secateur.core.data.augment.mix import Picture, mixup
from secateur.core.data.augment.recipe import Augmentation, Mix
from secateur.core.data.augment.training import TrainingSamples, training_samples
from secateur.core.data.base import Objects, TargetKind
from secateur.core.data.stream import Sample
from secateur.core.errors import DataError, Where
from secateur.core.ir.network import Preprocess
from support.onnx_text import model

SIDES = (90, 120)
"""Height and width of the images."""

SIZE = (3, 64, 80)
SHOWN = 255
"""Blue value of the pixels that belong to the object; all others have 0."""

GEOMETRIES = [
    Whole(), RandomCrop(), RandomCrop((100, 110)), RandomCrop((70,)), ResizedCrop(), Shift(),
    Jitter(0.3), Jitter(0.2, 1.4, letterbox=True), Jitter(0.1, 0.7), Placed(0.3),
]  # fmt: skip


@dataclass
class Marked:
    """Images with one object each, which is blue; its box or its pixels are known."""

    kind: TargetKind
    name: str = "marked"

    @property
    def target_kind(self) -> TargetKind:
        return self.kind

    def __len__(self) -> int:
        return 12

    def read(self, index: int, *, gray: bool) -> Sample:
        assert not gray
        random = np.random.default_rng(index)
        top, left = int(random.integers(5, 40)), int(random.integers(5, 60))
        high, wide = int(random.integers(20, 45)), int(random.integers(20, 50))
        image = np.zeros((*SIDES, 3), np.uint8)
        image[top : top + high, left : left + wide, 0] = SHOWN
        image[:, :, 2] = 10 * index
        pixels = (image[:, :, 0] == SHOWN).astype(np.uint8)
        box = (index, float(left), float(top), float(left + wide), float(top + high))
        return Sample(
            image=image,
            label=index if self.kind == "label" else None,
            objects=Objects.of([box]) if self.kind == "objects" else None,
            pixels=pixels if self.kind == "pixels" else None,
            where=Where(file="marked"),
        )


def samples(kind: TargetKind, augmentation: Augmentation, batch: int = 6) -> TrainingSamples:
    return TrainingSamples(
        source=Marked(kind), name="data", size=SIZE, preprocess=Preprocess(), batch=batch,
        augmentation=replace(augmentation, fill=(0.0, 0.0, 0.0)), seed=7,
        used=np.arange(12),
    )  # fmt: skip


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
def test_boxes_follow_their_pixels(geometry: Geometry) -> None:
    made = samples("objects", Augmentation(geometry=geometry, mirror=True))
    found = 0
    for epoch in range(3):
        batch = made.batch_of(epoch, 0)
        assert batch.objects is not None
        for image, objects in zip(batch.inputs["data"], batch.objects, strict=True):
            blue = image[0] > SHOWN / 2
            if not len(objects.boxes):
                assert blue.sum() < 64
                continue
            rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
            shown = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(objects.boxes[0], shown, atol=1.5)
            found += 1
    assert found > 10


@pytest.mark.parametrize("geometry", [*GEOMETRIES, TurnedCrop(70, 140, 20.0, 1.2)], ids=repr)
def test_maps_follow_their_pixels(geometry: Geometry) -> None:
    made = samples("pixels", Augmentation(geometry=geometry, mirror=True))
    batch = made.batch_of(1, 1)
    assert batch.labels is not None
    counted = batch.labels != 255
    differ = (batch.inputs["data"][:, 0] > SHOWN / 2) != (batch.labels == 1)
    assert (differ & counted).mean() < 0.03  # the edges of rectangles are interpolated
    assert (batch.labels == 1).any()


def test_mosaic_moves_objects_with_their_pixels() -> None:
    augmentation = Augmentation(geometry=Jitter(0.2), mix=Mix(mosaic=True, probability=1.0))
    made = samples("objects", augmentation)
    for epoch in range(4):
        batch = made.batch_of(epoch, 0)
        assert batch.objects is not None
        for image, objects in zip(batch.inputs["data"], batch.objects, strict=True):
            covered = np.zeros(SIZE[1:], bool)
            for left, top, right, bottom in np.rint(objects.boxes).astype(int):
                covered[top:bottom, left:right] = True
            blue = image[0] > 0.9 * SHOWN
            assert (blue & ~covered).mean() < 0.02  # a box is lost only below one pixel
            assert len(objects.boxes) >= 1


def test_the_same_numbers_give_the_same_batch() -> None:
    augmentation = Augmentation(
        geometry=ResizedCrop(), mirror=True,
        colour=Distortion(hue=0.1, saturation=1.5, exposure=1.5), mix=Mix(mixup=True, cutmix=True),
    )  # fmt: skip
    first, second = samples("label", augmentation), samples("label", augmentation)
    for place in ((3, 1), (0, 0), (2, 1)):  # in any order, from any worker
        one, other = first.batch_of(*place), second.batch_of(*place)
        np.testing.assert_array_equal(one.inputs["data"], other.inputs["data"])
        np.testing.assert_array_equal(one.labels, other.labels)
    assert not np.array_equal(
        first.batch_of(0, 0).inputs["data"], first.batch_of(1, 0).inputs["data"]
    )


def test_an_epoch_shows_every_sample_once() -> None:
    made = samples("label", Augmentation())
    seen = np.concatenate([made.batch_of(4, number).labels for number in range(made.batches)])
    assert sorted(seen) == list(range(12))
    assert list(seen) != list(range(12))


def test_shares_of_mixed_classes_sum_to_one() -> None:
    mix = Mix(mosaic=True, mixup=True, cutmix=True, probability=1.0)
    made = samples("label", Augmentation(mix=mix))
    batch = made.batch_of(0, 0)
    assert batch.mixture is not None
    assert batch.labels is not None
    classes, shares = batch.mixture
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(classes[np.arange(6), shares.argmax(axis=1)], batch.labels)
    # The red value tells the image: the mean of a mixture is that of its classes.
    red = batch.inputs["data"][:, 2].mean(axis=(1, 2))
    np.testing.assert_allclose(red, (10 * classes * shares).sum(axis=1), atol=1.0)


def test_mixup_keeps_the_objects_of_both() -> None:
    one, other = (
        Picture(
            image=np.full((8, 8, 3), value, np.uint8), objects=Objects.of([(value, 1, 1, 5, 5)])
        )
        for value in (10, 20)
    )
    both = mixup(one, other)
    assert both.objects is not None
    assert both.objects.classes.tolist() == [10, 20]
    assert both.image[0, 0].tolist() == [15, 15, 15]


def test_colours_change_as_darknet_with_opencv_changes_them() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[:] = (20, 40, 200)
    darker = recoloured(image, Shade(hue=0.0, saturation=1.0, exposure=0.5))
    np.testing.assert_allclose(darker[0, 0], (10, 20, 100), atol=1)
    grey = recoloured(image, Shade(hue=0.0, saturation=0.0, exposure=1.0))
    np.testing.assert_allclose(grey[0, 0], (200, 200, 200), atol=1)
    assert recoloured(image[:, :, 2], Shade(hue=0.3, saturation=2.0, exposure=2.0)).max() == 255
    turned = recoloured(image, Shade(hue=1 / 3, saturation=1.0, exposure=1.0))
    assert turned[0, 0].argmax() == 1  # a third of a turn leads from red to green


def test_a_network_takes_another_size_for_one_batch() -> None:
    made = samples("objects", Augmentation(geometry=Jitter(0.1)))
    batch = made.batch_of(0, 0, (32, 48))
    assert batch.inputs["data"].shape == (6, 3, 32, 48)
    assert batch.objects is not None
    assert max(float(found.boxes.max(initial=0.0)) for found in batch.objects) <= 48


def test_an_image_smaller_than_the_cut_is_refused() -> None:
    made = samples("label", Augmentation(geometry=RandomCrop((50, 60))))
    with pytest.raises(DataError, match="the image is 50×60, too small to cut 64×80 out of it"):
        made.batch_of(0, 0)


def test_arrays_are_remembered_and_cut_like_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.normal(size=(10, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=pixels, y=np.arange(10) % 4)
    onnx.save(
        model("y = Conv(x, w)", {"w": (4, 3, 1, 1)}, inputs="float[N,3,8,8] x"), tmp_path / "n.onnx"
    )
    network = load(tmp_path / "n.onnx")
    data = open_dataset(tmp_path / "x.npz", network, batch=4)
    made = training_samples(data, network, batch=5, seed=3)
    batches = [made.batch_of(0, number) for number in range(made.batches)]
    labels = np.concatenate([batch.labels for batch in batches])
    order = made.order(0)
    np.testing.assert_array_equal(labels, order % 4)
    np.testing.assert_array_equal(
        np.concatenate([batch.inputs["x"] for batch in batches]), pixels[order]
    )
    moved = training_samples(
        data, network, batch=10, augmentation=Augmentation(geometry=Shift(0.25)), seed=3
    ).batch_of(0, 0)
    assert (moved.inputs["x"] == 0).any()  # what comes in from outside is 0, the mean
