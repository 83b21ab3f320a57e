"""IDX files: MNIST as it comes, and files that are broken."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from secateur.core.data import open_dataset
from secateur.core.data.probe import found_labels
from secateur.core.errors import DataError

from .test_kinds import image, labels_of, network

NET = network(size=(1, 4, 6))
PIXELS = np.arange(3 * 4 * 6, dtype=np.uint8).reshape(3, 4, 6)


def idx(path: Path, values: np.ndarray, kind: int = 8, packed: bool = False) -> Path:
    data = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    data += values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("Images.idx", "labels.IDX"),
    ],
)
def test_images_with_the_labels_beside_them(images, labels, packed, tmp_path):
    end = ".gz" if packed else ""
    path = idx(tmp_path / f"{images}{end}", PIXELS, packed=packed)
    idx(tmp_path / f"{labels}{end}", np.array([2, 0, 1], np.uint8), packed=packed)
    found = open_dataset(path, NET)
    (batch,) = found
    np.testing.assert_array_equal(batch.inputs["data"], PIXELS[:, None])
    assert labels_of(found) == [2, 0, 1]
    assert "labels" in found_labels(found)
    assert sorted(tmp_path.iterdir()) == sorted(
        [path, tmp_path / f"{labels}{end}"]
    )  # nothing is unpacked beside them


def test_one_packed_and_the_other_not(tmp_path):
    path = idx(tmp_path / "a-images-idx3-ubyte", PIXELS)
    idx(tmp_path / "a-labels-idx1-ubyte.gz", np.array([0, 1, 2], np.uint8), packed=True)
    assert labels_of(open_dataset(path, NET)) == [0, 1, 2]


def test_images_alone(tmp_path):
    found = open_dataset(idx(tmp_path / "a-images-idx3-ubyte", PIXELS), NET)
    assert found.samples == 3
    assert not found.labelled


def test_labels_of_more_bytes(tmp_path):
    path = idx(tmp_path / "a-images-idx3-ubyte", PIXELS)
    idx(tmp_path / "a-labels-idx1-int", np.array([0, 1, 2], ">i4"), kind=12)
    assert not open_dataset(path, NET).labelled  # another name
    idx(tmp_path / "a-labels-idx1-ubyte", np.array([0, 1, 2], ">i4"), kind=12)
    assert labels_of(open_dataset(path, NET)) == [0, 1, 2]


def test_colours_as_they_are_stored(tmp_path):
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    (batch,) = open_dataset(idx(tmp_path / "x.idx", pixels), network())
    np.testing.assert_array_equal(batch.inputs["data"], pixels.transpose(0, 3, 1, 2))


def test_a_folder_of_one_set_and_of_two(tmp_path):
    idx(tmp_path / "t10k-images-idx3-ubyte", PIXELS)
    idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([0, 1, 2], np.uint8))
    assert labels_of(open_dataset(tmp_path, NET)) == [0, 1, 2]
    idx(tmp_path / "train-images-idx3-ubyte", PIXELS)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte, train-images-idx3-ubyte"):
        open_dataset(tmp_path, NET)


def test_a_folder_with_images_stays_one_of_images(tmp_path):
    idx(tmp_path / "x.idx", PIXELS)
    image(tmp_path / "a.png")
    assert open_dataset(tmp_path, NET).samples == 1


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), "3×4×6 values take 88 bytes.* are 87"),
        (lambda p: p.write_bytes(p.read_bytes() + b"x"), "are 89"),
        (lambda p: p.write_bytes(p.read_bytes()[:9]), "cut short"),
        (lambda p: p.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12), "values take .* are 16"),
        (lambda p: p.write_bytes(gzip.compress(p.read_bytes())[:-9]), "cut short or broken"),
        (lambda p: idx(p, np.zeros(3, np.uint8)), "holds labels, not images"),
        (lambda p: idx(p, np.zeros((3, 4, 6), ">f4"), kind=13), "3×4×6 .* are no images"),
        (lambda p: idx(p, np.zeros((0, 4, 6), np.uint8)), "no images in it"),
    ],
)
def test_broken_files_are_named(write, message, tmp_path):
    path = idx(tmp_path / "a-images-idx3-ubyte", PIXELS)
    write(path)
    with pytest.raises(DataError, match=rf"a-images-idx3-ubyte.*{message}"):
        open_dataset(path, NET)


def test_labels_that_are_not_as_many(tmp_path):
    path = idx(tmp_path / "a-images-idx3-ubyte", PIXELS)
    idx(tmp_path / "a-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(DataError, match="a-labels-idx1-ubyte: 2 labels stand beside 3 images"):
        open_dataset(path, NET)


def test_a_packed_file_that_was_made_to_fill_a_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.core.packed.ALWAYS", 1 << 20)
    monkeypatch.setattr("secateur.core.packed.CHUNK", 1 << 16)
    path = idx(tmp_path / "a-images", np.zeros((2048, 32, 64), np.uint8), packed=True)
    with pytest.raises(DataError, match="more than 100 times as large"):
        open_dataset(path, network(size=(1, 32, 64)))
