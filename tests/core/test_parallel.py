"""Batches worked on by several threads: the same ones in the same order, whatever fails."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.core.data import ImageStream, NpzDataset, open_dataset
from secateur.core.errors import DataError
from secateur.core.evaluation.runner import computed, mapped
from support.graphs import Graph


def tiny():
    g = Graph(channels=3, size=4)
    return g.network(y=g.conv("c", g.data, 2))


def folder(path: Path, count: int, broken: tuple[int, ...] = ()) -> Path:
    path.mkdir()
    for number in range(count):
        file = path / f"{number:02}.png"
        cv2.imwrite(str(file), np.full((4, 4, 3), number, np.uint8))
        if number in broken:
            file.write_bytes(b"junk")
    return path


def numbers(pairs):
    """Return the image numbers that batches hold, and how they were divided."""
    sizes, found = [], []
    for batch, made in pairs:
        assert made == batch.size
        sizes.append(batch.size)
        found += batch.inputs["data"][:, 0, 0, 0].astype(int).tolist()
    return found, sizes


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_images_come_in_order_and_broken_ones_are_left_out(tmp_path, workers):
    dataset = open_dataset(folder(tmp_path / "set", 23, broken=(3, 4, 17)), tiny(), batch=2)
    assert isinstance(dataset, ImageStream)
    for _ in range(2):
        pairs = mapped(dataset, lambda batch: batch.size, "job", workers=workers)
        found, sizes = numbers(pairs)
        assert found == [number for number in range(23) if number not in (3, 4, 17)]
        assert max(sizes) <= 2
        assert len(dataset.problems) == 3


def test_few_images_are_shared_out_to_all_workers(tmp_path):
    dataset = open_dataset(folder(tmp_path / "set", 8), tiny(), batch=8)
    _, sizes = numbers(mapped(dataset, lambda batch: batch.size, "job", workers=2))
    assert sizes == [2, 2, 2, 2]


def test_the_thread_that_reads_an_image_works_on_it(tmp_path, monkeypatch):
    dataset = open_dataset(folder(tmp_path / "set", 6), tiny(), batch=1)
    read, made, own = {}, {}, type(dataset.source).read

    def noted(source, index, *, gray):
        read[index] = threading.get_ident()
        return own(source, index, gray=gray)

    monkeypatch.setattr(type(dataset.source), "read", noted)

    def work(batch):
        made[int(batch.inputs["data"].flat[0])] = threading.get_ident()
        return batch.size

    numbers(mapped(dataset, work, "job", workers=2))
    assert made == read
    assert threading.get_ident() not in made.values()


@pytest.mark.parametrize(("bytes_in_a_row", "together"), [(1 << 24, 4), (600, 3), (1, 1)])
def test_some_images_are_read_before_they_are_worked_on(
    tmp_path, monkeypatch, bytes_in_a_row, together
):
    """One image takes 192 bytes."""
    monkeypatch.setattr("secateur.core.data.stream.ROW_BYTES", bytes_in_a_row)
    dataset = open_dataset(folder(tmp_path / "set", 24), tiny(), batch=1)
    steps, own = threading.local(), type(dataset.source).read
    rows = []

    def noted(source, index, *, gray):
        steps.read = getattr(steps, "read", 0) + 1
        return own(source, index, gray=gray)

    monkeypatch.setattr(type(dataset.source), "read", noted)

    def work(batch):
        if steps.read:
            rows.append(steps.read)
        steps.read = 0
        return batch.size

    found, sizes = numbers(mapped(dataset, work, "job", workers=2))
    assert found == list(range(24))
    assert set(sizes) == {1}
    assert rows == [together] * (24 // together)


@pytest.mark.parametrize("workers", [1, 3])
def test_errors_arrive_where_the_batches_do(tmp_path, workers):
    def work(batch):
        if batch.inputs["data"].flat[0] >= 5:
            raise DataError("the sixth is bad")
        return batch.size

    dataset = open_dataset(folder(tmp_path / "set", 9), tiny(), batch=1)
    pairs = mapped(dataset, work, "job", workers=workers)
    assert [int(next(pairs)[0].inputs["data"].flat[0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="the sixth is bad"):
        next(pairs)


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_but_broken_images(tmp_path, workers):
    dataset = open_dataset(folder(tmp_path / "set", 3, broken=(0, 1, 2)), tiny())
    with pytest.raises(DataError, match=r"none of the images can be read; .*00\.png"):
        list(mapped(dataset, lambda batch: batch.size, "job", workers=workers))


def test_too_many_broken_images(tmp_path):
    dataset = open_dataset(folder(tmp_path / "set", 15, broken=tuple(range(2, 14))), tiny())
    with pytest.raises(DataError, match="more than 10 images cannot be read"):
        list(mapped(dataset, lambda batch: batch.size, "job", workers=2))


def test_arrays_are_computed_like_images(tmp_path):
    network = tiny()
    images = np.stack([np.full((3, 4, 4), k, np.float32) for k in range(7)])
    np.savez(tmp_path / "a.npz", data=images)
    arrays = open_dataset(tmp_path / "a.npz", network, batch=2)
    assert isinstance(arrays, NpzDataset)
    stream = open_dataset(folder(tmp_path / "set", 7), network, batch=2)
    one, other = (
        np.concatenate(list(computed(network, data, "job", lambda _, outputs: outputs["y"])))
        for data in (arrays, stream)
    )
    assert len(one) == 7
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
