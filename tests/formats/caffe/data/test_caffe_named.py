"""The data that data layers name: where it stands, and the shape of its images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.core.errors import DataError, FormatError, SecateurError, UnsupportedError
from secateur.formats.caffe.data.named import named_data
from support.leveldb import write_leveldb
from support.mnist import rows, write_lmdb

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 10)).astype(np.uint8)
LABELS = np.array([0, 1, 2])


def net(folder: Path, kind: str, fields: str, phase: str = "TEST", name: str = "data") -> Path:
    path = folder / "net.prototxt"
    before = path.read_text() if path.exists() else ""
    path.write_text(
        f'{before}layer {{ name: "{name}" type: "{kind}" top: "{name}" top: "label{len(before)}"\n'
        f"include {{ phase: {phase} }} {fields} }}\n"
    )
    return path


def test_databases(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "lmdb", IMAGES, LABELS)
    write_leveldb(tmp_path / "leveldb", rows(IMAGES, LABELS))
    path = net(tmp_path, "Data", 'data_param { source: "lmdb" batch_size: 5 backend: LMDB }')
    net(tmp_path, "Data", 'data_param { source: "leveldb" batch_size: 7 }'
        "transform_param { crop_size: 6 mean_value: 3 scale: 0.5 }", "TRAIN")  # fmt: skip
    found = named_data(path, "TEST")
    assert (found.path, found.batch, found.top) == (tmp_path / "lmdb", 5, "data")
    assert found.shape == (3, 8, 10)
    trained = named_data(path, "TRAIN")
    assert (trained.path, trained.batch, trained.shape) == (tmp_path / "leveldb", 7, (3, 6, 6))
    assert (trained.preprocess.crop, trained.preprocess.mean) == (True, (3.0,))
    assert (trained.where.line, trained.where.field) == (4, "source")


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "lmdb", IMAGES[:, 0], LABELS)
    found = named_data(net(tmp_path, "Data", 'data_param { source: "lmdb" }'), "TEST")
    assert (found.shape, found.preprocess.channels) == ((1, 8, 10), "gray")


def test_lists_of_images(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    assert cv2.imwrite(str(tmp_path / "pictures/a.png"), IMAGES[0].transpose(1, 2, 0))
    (tmp_path / "list.txt").write_text("a.png 2\n")
    fields = 'image_data_param { source: "list.txt" batch_size: 2 root_folder: "pictures/"'
    found = named_data(net(tmp_path, "ImageData", f"{fields} }}"), "TEST")
    assert (found.shape, found.root) == ((3, 8, 10), tmp_path / "pictures")
    (tmp_path / "net.prototxt").unlink()
    sized = f"{fields} new_height: 4 new_width: 5 is_color: false }}"
    found = named_data(net(tmp_path, "ImageData", sized), "TEST")
    assert (found.shape, found.preprocess.resize) == ((1, 4, 5), (4, 5))


def test_arrays(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["label"] = IMAGES.astype(np.float32), LABELS
    (tmp_path / "list.txt").write_text("a.h5\n")
    path = net(tmp_path, "HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 3 }')
    assert named_data(path, "TEST").shape == (3, 8, 10)
    (tmp_path / "net.prototxt").unlink()
    path = net(tmp_path, "HDF5Data", 'hdf5_data_param { source: "list.txt" }', name="pixels")
    with pytest.raises(DataError, match=r"a\.h5: there is no dataset 'pixels' \(hint: .*data"):
        named_data(path, "TEST")


@pytest.mark.parametrize(
    ("kind", "fields", "error", "told"),
    [
        ("Data", 'data_param { source: "none" }', DataError, r":2: .*source: .*data at 'none'"),
        ("Data", "data_param { batch_size: 2 }", FormatError, "field source: required"),
        ("MemoryData", "memory_data_param { channels: 1 height: 2 width: 2 }", UnsupportedError,
         "data of layers of type MemoryData is not read"),
        ("AnnotatedData", 'data_param { source: "x" }', DataError, "there is no data at 'x'"),
        ("Input", "input_param { shape: { dim: 1 } shape: { dim: 1 } }", FormatError,
         "no layer of phase TEST reads data"),
    ],
)  # fmt: skip
def test_what_is_not_there(
    tmp_path: Path, kind: str, fields: str, error: type[SecateurError], told: str
) -> None:
    with pytest.raises(error, match=told):
        named_data(net(tmp_path, kind, fields), "TEST")


def test_two_layers_of_data(tmp_path: Path) -> None:
    net(tmp_path, "Data", 'data_param { source: "x" }')
    path = net(tmp_path, "Data", 'data_param { source: "y" }', name="more")
    with pytest.raises(UnsupportedError, match="comes from 2 layers, of which one is read"):
        named_data(path, "TEST")
