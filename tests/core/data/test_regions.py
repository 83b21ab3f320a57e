"""Inputs with several rows a sample: regions of images, whose first column names an image."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

import secateur
from secateur.core.data import SyntheticDataset
from secateur.core.data.base import Batch
from secateur.core.data.hold_out import SamplePart
from secateur.core.data.rebatch import Rebatched
from secateur.core.data.shards import shards
from secateur.core.errors import DataError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Border, Network
from secateur.core.ir.regions import Regions, region_inputs

IMAGES, EACH = 2, 3
"""Images of a run, and regions of an image."""


def detector() -> Network:
    """Return a network of 2 images and 6 regions a run; maps have half the size of the images."""
    b = Builder("net")
    x, rois = b.input("x", (IMAGES, 1, 12, 20)), b.input("rois", (IMAGES * EACH, 5))
    maps = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    pooled = b.op("MaxRoiPool", maps, b.op("Identity", rois), pooled_shape=[2, 2],
                  spatial_scale=0.5)  # fmt: skip
    return Network(name="net", model=b.finish({"y": b.op("Flatten", pooled, axis=1)}))


def stored(samples: int) -> dict[str, np.ndarray]:
    """Return images that hold their number, and regions of each, numbered through."""
    x = np.repeat(np.arange(samples), 240).reshape(samples, 1, 12, 20).astype(np.float32)
    boxes = np.tile([0, 0, 19, 11], (samples * EACH, 1))
    rois = np.column_stack([np.arange(samples * EACH) // EACH, boxes]).astype(np.float32)
    return {"x": x, "rois": rois}


def test_regions_are_found_with_the_size_of_their_images() -> None:
    assert region_inputs(detector().graph) == {"rois": Regions(height=12, width=20)}


def test_an_input_of_other_columns_is_no_regions() -> None:
    b = Builder("net")
    x, rois = b.input("x", (1, 1, 4, 4)), b.input("rois", (3, 10))
    pooled = b.op("MaxRoiPool", x, b.op("Reshape", rois, b.constant([6, 5])), pooled_shape=[1, 1])
    assert not region_inputs(b.finish({"y": pooled}).graph)


def test_noise_for_regions_is_boxes_inside_their_images() -> None:
    (batch,) = SyntheticDataset(detector(), samples=40, batch=40)
    rois = batch.inputs["rois"]
    assert rois.shape == (120, 5)
    assert np.array_equal(rois[:, 0], np.arange(120) // EACH % IMAGES)
    width, height = rois[:, 3] - rois[:, 1], rois[:, 4] - rois[:, 2]
    assert rois[:, 1:].min() >= 0
    assert rois[:, 3].max() <= 19
    assert rois[:, 4].max() <= 11
    assert (width >= 19 / 4).all()
    assert (height >= 11 / 4).all()
    assert len(np.unique(rois[:, 1:], axis=0)) == 120
    later = list(SyntheticDataset(detector(), samples=40, batch=4))
    assert np.array_equal(np.concatenate([one.inputs["rois"] for one in later]), rois)


def written(folder: Path, count: int) -> Path:
    """Write grey images twice as high as wide, each full of its number."""
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:02}.png"), np.full((40, 20), number, np.uint8))
    return folder


def boxes_of(folder: Path, **settings: object) -> dict[int, np.ndarray]:
    """Return number of an image → its rows of regions, without the number in the batch."""
    found = {}
    for batch in secateur.open_dataset(folder, detector(), **settings):
        rows = batch.inputs["rois"].reshape(batch.size, EACH, 5)
        assert (rows[:, :, 0] == np.arange(batch.size)[:, None] % IMAGES).all()
        names = batch.inputs["x"].max(axis=(1, 2, 3)).astype(int)
        found |= dict(zip(names.tolist(), rows[:, :, 1:], strict=True))
    return found


def test_boxes_are_drawn_beside_images(tmp_path: Path) -> None:
    folder = written(tmp_path / "images", 10)
    found = boxes_of(folder)
    rows = np.concatenate(list(found.values()))
    assert sorted(found) == list(range(10))
    assert len(np.unique(rows, axis=0)) == 10 * EACH
    assert rows.min() >= 0
    assert (rows.max(axis=0) <= [19, 11, 19, 11]).all()
    assert (rows[:, 2:] - rows[:, :2] >= np.array([19, 11]) / 4 - 1e-5).all()


@pytest.mark.parametrize("settings", [{"batch": 4}, {"limit": 6}], ids=["batch", "limit"])
def test_drawn_boxes_depend_on_the_image_alone(settings: dict[str, int], tmp_path: Path) -> None:
    folder = written(tmp_path / "images", 10)
    whole, part = boxes_of(folder), boxes_of(folder, **settings)
    assert len(part) == settings.get("limit", 10)
    for number, rows in part.items():
        np.testing.assert_array_equal(rows, whole[number])


def test_drawn_boxes_stay_with_images_when_one_is_broken(tmp_path: Path) -> None:
    folder = written(tmp_path / "images", 10)
    whole = boxes_of(folder)
    for number in (3, 4):
        (folder / f"{number:02}.png").write_bytes(b"broken")
    rest = boxes_of(folder)
    assert sorted(rest) == [0, 1, 2, 5, 6, 7, 8, 9]
    for number, rows in rest.items():
        np.testing.assert_array_equal(rows, whole[number])


def test_drawn_boxes_lie_in_the_image_not_in_its_margins(tmp_path: Path) -> None:
    rows = np.concatenate(list(boxes_of(written(tmp_path / "images", 10), letterbox=True).values()))
    left, right = 7 / 20 * 19, 13 / 20 * 19  # 40 × 20 pixels become 12 × 6, between margins of 7
    assert rows[:, 0].min() >= left - 1e-4
    assert rows[:, 2].max() <= right + 1e-4


def test_regions_beside_images_come_in_batches_of_any_size(tmp_path: Path) -> None:
    network = detector()
    dataset = secateur.open_dataset(written(tmp_path / "images", 10), network, batch=4)
    whole = np.concatenate([batch.inputs["rois"] for batch in dataset])
    for parts in (Rebatched(dataset, IMAGES), shards(dataset, IMAGES)):
        found = [part.inputs["rois"] for part in parts]
        assert [len(rows) for rows in found] == [IMAGES * EACH] * 5
        np.testing.assert_array_equal(np.concatenate(found), whole)


def test_images_alone_do_not_feed_a_network_whose_first_input_holds_regions(tmp_path: Path) -> None:
    b = Builder("net")
    rois, x = b.input("rois", (6, 5)), b.input("x", (1, 1, 12, 20))
    network = Network(
        name="net", model=b.finish({"y": b.op("MaxRoiPool", x, rois, pooled_shape=[2, 2])})
    )
    with pytest.raises(DataError, match="images feed one input, but the network has 'rois', 'x'"):
        secateur.open_dataset(written(tmp_path / "images", 2), network)


def test_noise_for_what_a_border_makes_is_no_image() -> None:
    b = Builder("net")
    x, feature = b.input("x", ("N", 3, 4, 4)), b.input("feature", ("N", 3, 4, 4))
    model = b.finish({"y": b.op("Relu", x), "z": b.op("Relu", feature)})
    border = Border(layer=0, subject="'p' (Python)", outputs=("y",), inputs=("feature",))
    (batch,) = SyntheticDataset(Network(name="net", model=model, borders=(border,)), samples=8)
    assert batch.inputs["feature"].max() <= 1
    assert batch.inputs["x"].max() > 100


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "zeros"])
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_stored_regions_belong_to_their_images(
    suffix: str, tmp_path: Path, *, numbered: bool
) -> None:
    arrays = stored(10)
    if not numbered:
        arrays["rois"][:, 0] = 0
    path = tmp_path / f"set{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update(arrays)
    network = detector()
    dataset = secateur.open_dataset(path, network, batch=4)
    assert dataset.samples == 10
    session = secateur.Session(network)
    found = np.concatenate([session.run(batch.inputs)["y"] for batch in dataset])
    assert np.array_equal(
        found[:, 0], np.arange(30) // EACH
    )  # the number of the image, three times


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_stored_regions_are_equally_many(suffix: str, tmp_path: Path) -> None:
    arrays = stored(10)
    arrays["rois"] = arrays["rois"][:-1]
    path = tmp_path / f"set{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update(arrays)
    with pytest.raises(DataError, match="different numbers of samples: 'x' has 10, 'rois' has 29"):
        secateur.open_dataset(path, detector())


def test_an_hdf5_file_needs_every_input(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file.update({"data": stored(4)["x"], "x": stored(4)["x"]})
    with pytest.raises(DataError, match="there is no dataset 'rois' "):
        secateur.open_dataset(tmp_path / "set.h5", detector())


class Whole:
    """All samples in one batch."""

    name, labelled, problems, samples = "whole", False, (), 20

    def __iter__(self):
        yield Batch(inputs=stored(20))


def matching(inputs: dict[str, np.ndarray]) -> bool:
    """Whether the regions name the images that lie beside them."""
    numbers = np.repeat(inputs["x"][:, 0, 0, 0], EACH)
    return np.array_equal(inputs["rois"][:, 0], numbers)


def test_parts_of_a_batch_have_the_rows_of_their_samples() -> None:
    (batch,) = Whole()
    assert batch.size == 20
    for part, size in ((batch.first(4), 4), (batch.part(6, 8), 2)):
        assert (len(part["x"]), len(part["rois"])) == (size, size * EACH)
        assert matching(part)


def test_shards_and_batches_of_another_size_keep_regions_with_images() -> None:
    found = list(shards(Whole(), IMAGES))
    assert [len(shard.inputs["rois"]) for shard in found] == [IMAGES * EACH] * 10
    assert all(matching(shard.inputs) for shard in found)
    again = list(Rebatched(Whole(), 6))
    assert [batch.size for batch in again] == [6, 6, 6, 2]
    assert all(matching(batch.inputs) for batch in again)


def test_samples_are_held_out_with_their_regions() -> None:
    held = list(SamplePart(Whole(), held_out=True, batch=IMAGES))
    rest = list(SamplePart(Whole(), held_out=False, batch=IMAGES))
    assert [batch.size for batch in (*held, *rest)] == [4, 16]
    assert all(matching(batch.inputs) for batch in (*held, *rest))


def test_regions_are_no_classes_of_an_image(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **stored(4), y=np.zeros(4, np.int64))
    network = detector()
    dataset = secateur.open_dataset(tmp_path / "set.npz", network)
    with pytest.raises(DataError, match="a vector for each of several regions, not one a sample"):
        secateur.evaluate(network, dataset)
