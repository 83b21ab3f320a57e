"""Data: archives, images and noise become batches that fit, or errors that say what is wrong."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.core.data import Batch, Dataset, SyntheticDataset, open_dataset, streamed
from secateur.core.data.calibration import Calibration
from secateur.core.data.preprocess import to_input
from secateur.core.data.stream import MAX_BROKEN
from secateur.core.engine.session import Session
from secateur.core.errors import DataError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Network, Preprocess


def taking(preprocess: Preprocess | None = None, **inputs: tuple[int | str, ...]) -> Network:
    b = Builder("net")
    outputs = {f"out_{name}": b.input(name, shape) for name, shape in inputs.items()}
    model = b.finish(outputs)
    return Network(name="net", model=model, preprocess=preprocess or Preprocess())


IMAGES = ("N", 3, 4, 6)


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def joined(dataset: Dataset) -> Batch:
    batches = list(dataset)
    labels = [batch.labels for batch in batches if batch.labels is not None]
    names = batches[0].inputs
    return Batch(
        inputs={name: np.concatenate([b.inputs[name] for b in batches]) for name in names},
        labels=np.concatenate(labels) if labels else None,
    )


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_archive_is_streamed_as_it_stands(
    tmp_path: Path, save: Callable[..., None], order: str
) -> None:
    x, y = noise(7, 3, 4, 6), np.arange(7, dtype=np.uint8)
    save(tmp_path / "d.npz", x=np.asarray(x, order=order), y=y, other=np.array(["text"]))  # type: ignore[call-overload]
    network = taking(Preprocess(mean=(9.0,), scale=5.0), data=IMAGES)
    dataset = open_dataset(tmp_path / "d.npz", network, batch=3)
    assert isinstance(dataset, Dataset)
    assert [batch.size for batch in dataset] == [3, 3, 1]
    assert (dataset.samples, dataset.labelled, dataset.problems) == (7, True, ())
    for _ in range(2):
        whole = joined(dataset)
        np.testing.assert_array_equal(whole.inputs["data"], x)
        np.testing.assert_array_equal(whole.labels, y)
    assert whole.labels is not None
    assert whole.labels.dtype == np.int64


def test_arrays_by_the_names_of_inputs(tmp_path: Path) -> None:
    left, right = noise(2, 3), noise(2, 5)
    path = saved(tmp_path / "d.npz", y=right, x=left)
    whole = joined(open_dataset(path, taking(x=("N", 3), y=("N", 5))))
    np.testing.assert_array_equal(whole.inputs["y"], right)
    assert whole.labels is None
    path = saved(tmp_path / "e.npz", data=left, x=right)
    whole = joined(open_dataset(path, taking(data=("N", 3))))
    np.testing.assert_array_equal(whole.inputs["data"], left)
    with pytest.raises(DataError, match="no array 'right' for input 'right', only 'data', 'x'"):
        open_dataset(path, taking(data=("N", 3), right=("N", 3)))


def test_doubles_and_labels_in_a_column(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", x=noise(2, 3).astype(">f8"), y=np.array([[4], [2]]))
    whole = joined(open_dataset(path, taking(data=("N", 3))))
    assert whole.inputs["data"].dtype == np.float32
    np.testing.assert_array_equal(whole.inputs["data"], noise(2, 3))
    assert whole.labels is not None
    assert whole.labels.tolist() == [4, 2]


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_limit_counts_samples(tmp_path: Path, order: str) -> None:
    path = saved(tmp_path / "d.npz", x=np.asarray(noise(9, 3), order=order), y=np.arange(9))  # type: ignore[call-overload]
    dataset = open_dataset(path, taking(data=("N", 3)), batch=4, limit=5)
    whole = joined(dataset)
    assert dataset.samples == 5
    np.testing.assert_array_equal(whole.inputs["data"], noise(9, 3)[:5])
    with pytest.raises(DataError, match="at least one"):
        open_dataset(path, taking(data=("N", 3)), limit=0)
    with pytest.raises(DataError, match="at least one"):
        open_dataset(path, taking(data=("N", 3)), batch=0)


def test_a_fixed_batch_decides(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", x=noise(8, 3))
    network = taking(data=(4, 3))
    assert [b.size for b in open_dataset(path, network, batch=6)] == [4, 4]
    assert [b.size for b in open_dataset(path, network, batch=1)] == [4, 4]
    with pytest.raises(DataError, match=r"batches of 4, but there are 7 .*limit .* to 4"):
        open_dataset(path, network, limit=7)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": noise(2, 3, 4, 6)}, r"no array 'x' or 'data' for input 'data', only 'z'"),
        ({}, "only nothing"),
        ({"x": noise(2, 3, 4, 5)}, r"array 'x' is 2×3×4×5, but input 'data' takes N×3×4×6"),
        ({"x": noise(3, 4, 6)}, r"array 'x' is 3×4×6"),
        ({"x": np.float32(3)}, r"array 'x' is a single number"),
        ({"x": noise(0, 3, 4, 6)}, "'x' holds no sample"),
        ({"x": noise(2, 3, 4, 6).astype(np.uint16)}, "'x' holds uint16, not float32"),
        ({"x": noise(2, 3, 4, 6).astype(object)}, "'x' holds object"),
        ({"x": noise(2, 3, 4, 6), "y": np.arange(3)}, "'x' has 2, 'y' has 3"),
        ({"x": noise(2, 3, 4, 6), "y": np.array([0.0, 1.0])}, "'y' holds float64, not integer"),
        ({"x": noise(2, 3, 4, 6), "y": np.eye(2, dtype=int)}, "'y' is 2×2, not one label"),
    ],
)
def test_archives_that_do_not_fit(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = saved(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message) as raised:
        open_dataset(path, taking(data=IMAGES))
    assert str(raised.value).startswith(str(path))


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    for name, content in {
        "text.npz": b"hello",
        "empty.npz": b"",
        "zip.npz": _zip(x=b"junk"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            open_dataset(tmp_path / name, taking(data=IMAGES))


def test_an_array_that_ends_too_early(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.save(head, noise(5, 3))
    (tmp_path / "d.npz").write_bytes(_zip(x=head.getvalue()[:-20]))
    with pytest.raises(DataError, match=r"d\.npz: array 'x' ends in sample 3 of 5"):
        open_dataset(tmp_path / "d.npz", taking(data=("N", 3)), batch=2)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_archives_never_raise_anything_else(
    tmp_path: Path, save: Callable[..., None], order: str
) -> None:
    network = taking(data=("N", 3))
    path = tmp_path / "d.npz"
    save(path, x=np.asarray(noise(6, 3), order=order), y=np.arange(6))  # type: ignore[call-overload]
    whole = path.read_bytes()
    chance = random.Random(0)
    errors: list[str] = []
    for _ in range(300):
        damaged = bytearray(whole)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        for _ in range(chance.randrange(1, 4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            list(open_dataset(path, network))
        except DataError as error:
            errors.append(str(error))
    assert len(errors) > 100
    assert all(str(path) in error for error in errors)


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def write_image(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def plain(blue: int, green: int, red: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), (blue, green, red), np.uint8)


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number, name in enumerate(["b.png", "a/z.PNG", "a/b/c.bmp", ".hidden/x.png", "a/.y.png"]):
        write_image(tmp_path / name, plain(number, 0, 0))
    (tmp_path / "notes.txt").write_text("no image")
    dataset = open_dataset(tmp_path, taking(data=IMAGES), batch=2)
    assert (dataset.samples, dataset.labelled) == (3, False)
    assert [batch.size for batch in dataset] == [2, 1]
    assert joined(dataset).inputs["data"][:, 0, 0, 0].tolist() == [2, 1, 0]
    assert open_dataset(tmp_path, taking(data=IMAGES), limit=2).samples == 2


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        (Preprocess(channels="bgr"), (10, 20, 30)),
        (Preprocess(channels="rgb"), (30, 20, 10)),
        (Preprocess(channels="bgr", mean=(1, 2, 3), scale=0.5), (4.5, 9, 13.5)),
        (Preprocess(channels="rgb", mean=(10,), scale=2), (40, 20, 0)),
    ],
)
def test_channels_mean_and_scale(
    tmp_path: Path, preprocess: Preprocess, expected: tuple[float, ...]
) -> None:
    path = write_image(tmp_path / "i.png", plain(10, 20, 30))
    for dataset in (
        open_dataset(path, taking(preprocess, data=IMAGES)),
        open_dataset(path, taking(data=IMAGES), preprocess=preprocess),
    ):
        (batch,) = dataset
        data = batch.inputs["data"]
        assert (data.dtype, data.shape, batch.labels) == (np.float32, (1, 3, 4, 6), None)
        np.testing.assert_array_equal(
            data, np.broadcast_to(np.reshape(expected, (3, 1, 1)), data.shape)
        )


def test_rows_and_columns_are_not_exchanged(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    path = write_image(tmp_path / "i.png", image)
    (batch,) = open_dataset(path, taking(data=IMAGES))
    np.testing.assert_array_equal(batch.inputs["data"][0], image.transpose(2, 0, 1))


def test_one_channel_is_grey(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (4, 6)).astype(np.uint8)
    path = write_image(tmp_path / "i.png", gray)
    (batch,) = open_dataset(path, taking(Preprocess(scale=1 / 256), data=("N", 1, 4, 6)))
    np.testing.assert_array_equal(batch.inputs["data"][0, 0], gray / np.float32(256))
    (batch,) = open_dataset(path, taking(data=IMAGES))
    np.testing.assert_array_equal(batch.inputs["data"][0], np.broadcast_to(gray, (3, 4, 6)))


def test_stretching_is_bilinear() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 200
    data = to_input(image, (3, 2, 4), Preprocess())
    np.testing.assert_array_equal(data[0], [[0, 50, 150, 200]] * 2)


@pytest.mark.parametrize(
    ("height", "width", "filled"),
    [(10, 20, np.s_[:, 2:6, :]), (20, 10, np.s_[:, :, 2:6]), (30, 30, np.s_[:, :, :])],
)
def test_letterboxing_keeps_the_aspect_ratio(
    height: int, width: int, filled: tuple[slice, ...]
) -> None:
    image = plain(255, 255, 255, height, width)
    data = to_input(image, (3, 8, 8), Preprocess(letterbox=True, scale=1 / 255))
    expected = np.full((3, 8, 8), 0.5)
    expected[filled] = 1
    np.testing.assert_allclose(data, expected, rtol=1e-6)


def test_broken_images_are_skipped_and_told(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.png", plain(number, 0, 0))
    (tmp_path / "1.png").write_bytes(b"junk")
    (tmp_path / "2.png").write_bytes(b"")
    dataset = open_dataset(tmp_path, taking(data=IMAGES), batch=2)
    for _ in range(2):
        assert joined(dataset).inputs["data"][:, 0, 0, 0].tolist() == [0, 3]
        assert len(dataset.problems) == 2
        assert "1.png" in dataset.problems[0]


def test_too_many_broken_images_are_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "zzz.png", plain(0, 0, 0))
    for number in range(MAX_BROKEN):
        (tmp_path / f"{number}.png").write_bytes(b"junk")
    dataset = open_dataset(tmp_path, taking(data=IMAGES))
    assert joined(dataset).size == 1
    (tmp_path / "more.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=f"more than {MAX_BROKEN} images.*more.png"):
        list(open_dataset(tmp_path, taking(data=IMAGES)))


def test_nothing_but_broken_images(tmp_path: Path) -> None:
    path = tmp_path / "only.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n junk")
    with pytest.raises(DataError, match=r"only\.png: this is no image"):
        list(open_dataset(path, taking(data=IMAGES)))
    with pytest.raises(DataError, match=r"none of the images can be read; .*only\.png"):
        list(open_dataset(tmp_path, taking(data=IMAGES)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (taking(left=IMAGES, right=IMAGES), "feed one input, but the network has 'left', 'right'"),
        (taking(data=("N", 10)), r"'data' \(N×10\) takes no images"),
        (taking(data=("N", 5, 4, 4)), "takes 5 channels, but bgr images have 3"),
        (
            taking(Preprocess(channels="gray"), data=IMAGES),
            "takes 3 channels, but gray images have 1",
        ),
        (taking(Preprocess(channels="hsv"), data=IMAGES), "order 'hsv' is unknown"),
        (taking(Preprocess(mean=(1, 2)), data=IMAGES), "mean has 2 values for 3 channels"),
    ],
)
def test_networks_that_take_no_images(tmp_path: Path, network: Network, message: str) -> None:
    write_image(tmp_path / "i.png", plain(0, 0, 0))
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, network)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "none.npz": "there is no data at",
        "a.csv": r"no kind of data .*hint: give a \.npz",
        "empty": "the folder holds no images",
    }.items():
        with pytest.raises(DataError, match=message):
            open_dataset(tmp_path / name, taking(data=IMAGES))


def test_opencv_is_imported_only_when_used() -> None:
    code = "import sys, secateur.core.data; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_noise_is_what_noise_images_would_give() -> None:
    preprocess = Preprocess(mean=(100.0, 110.0, 120.0), scale=0.1)
    network = taking(preprocess, data=("N", 3, 16, 16), more=("N", 50))
    whole = joined(SyntheticDataset(network, samples=20, batch=8))
    for channel, mean in enumerate(preprocess.mean):
        values = whole.inputs["data"][:, channel]
        assert values.min() == pytest.approx(-mean * 0.1, abs=0.1)
        assert values.max() == pytest.approx((255 - mean) * 0.1, abs=0.1)
    more = whole.inputs["more"]
    assert more.shape == (20, 50)
    assert 0 <= more.min() < 0.05 < 0.95 < more.max() < 1
    assert {array.dtype for array in whole.inputs.values()} == {np.dtype(np.float32)}


def test_noise_depends_on_the_seed_alone() -> None:
    network = taking(data=IMAGES)
    base = joined(SyntheticDataset(network, samples=7, batch=3)).inputs["data"]
    again = joined(SyntheticDataset(network, samples=9, batch=9)).inputs["data"]
    other = joined(SyntheticDataset(network, samples=7, seed=1)).inputs["data"]
    np.testing.assert_array_equal(base, again[:7])
    assert not (base == other).any(axis=(1, 2, 3)).all()
    assert len(np.unique(base)) > 0.9 * base.size


def test_noise_for_awkward_networks() -> None:
    dataset = SyntheticDataset(taking(data=(4, 3)), samples=5)
    assert (dataset.samples, [b.size for b in dataset]) == (8, [8])
    with pytest.raises(DataError, match=r"'data' \(N×3×H\) has no fixed size"):
        SyntheticDataset(taking(data=("N", 3, "H")))
    with pytest.raises(DataError, match="at least one sample"):
        SyntheticDataset(taking(data=IMAGES), samples=0)


def test_progress_begins_with_nothing_and_ends_with_all(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", plain(number, 0, 0))
    (tmp_path / "1.png").write_bytes(b"junk")
    seen: list[tuple[str, int, int]] = []

    def note(label: str, done: int, total: int) -> None:
        seen.append((label, done, total))

    dataset = open_dataset(tmp_path, taking(data=IMAGES), batch=1)
    assert [b.size for b in streamed(dataset, "job", note)] == [1, 1]
    assert seen == [("job", 0, 3), ("job", 1, 3), ("job", 2, 3), ("job", 2, 2)]


def test_noise_for_inputs_of_different_batches():
    """Regions of images: so many rows a run as the network insists on."""
    builder = Builder("net")
    image, regions = builder.input("x", (2, 1, 4, 4)), builder.input("rois", (6, 5))
    pooled = builder.op("MaxRoiPool", image, regions, pooled_shape=[1, 1])
    network = Network(name="net", model=builder.finish({"y": pooled}))
    batches = list(SyntheticDataset(network, samples=6, batch=4))
    assert [batch.inputs["x"].shape[0] for batch in batches] == [4, 2]
    assert [batch.inputs["rois"].shape[0] for batch in batches] == [12, 6]
    (whole,) = SyntheticDataset(network, samples=6, batch=6)
    rows = np.concatenate([batch.inputs["rois"] for batch in batches])
    assert np.array_equal(whole.inputs["rois"], rows)
    assert len(np.unique(rows, axis=0)) == 18
    assert Session(network).run(whole.inputs)["y"].shape == (18, 1, 1, 1)
    (first,) = Calibration(SyntheticDataset(network, samples=6, batch=6), samples=4)
    assert np.array_equal(first.inputs["rois"], rows[:12])
    assert first.size == 4
