"""For every kind of dataset, a function that writes three samples of it.

Sample k is of class k, or holds one object of class k, where the kind has answers at all.
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from secateur.core.ir.builder import Builder
from secateur.core.ir.heads import AnchorHead
from secateur.core.ir.network import Network
from secateur.proto.caffe import message_class
from support.leveldb import write_leveldb

__all__ = ["SAMPLES", "DataSample"]

COUNT = 3
NAMES = tuple(f"{number}.png" for number in range(COUNT))
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 6, 3)).astype(np.uint8)
OBJECT = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"


def network(*, detector: bool = False) -> Network:
    """Return a network that tells three classes of images of 3×4×6 apart."""
    b = Builder("net")
    flat = b.op("Flatten", b.input("data", ("N", 3, 4, 6)), axis=1)
    out = b.op("MatMul", flat, b.parameter(np.ones((72, 3), np.float32)))
    head = AnchorHead(output="out", classes=3, anchors=((1, 1),), width=6, height=4)
    heads = (head,) if detector else ()
    return Network(name="net", model=b.finish({"out": out}), heads=heads)


def images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in zip(NAMES, PIXELS, strict=True):
        assert cv2.imwrite(str(folder / name), pixels)


def archive(folder: Path) -> Path:
    np.savez(folder / "d.npz", x=PIXELS.transpose(0, 3, 1, 2).astype(np.float32), y=np.arange(3))
    return folder / "d.npz"


def one_image(folder: Path) -> Path:
    images(folder)
    return folder / NAMES[0]


def coco(folder: Path) -> Path:
    images(folder / "images")
    records = [{"id": number, "file_name": name} for number, name in enumerate(NAMES)]
    boxes = [{"image_id": n, "category_id": n, "bbox": [1, 1, 2, 2]} for n in range(COUNT)]
    path = folder / "instances.json"
    path.write_text(
        json.dumps(
            {
                "images": records,
                "annotations": boxes,
                "categories": [{"id": number, "name": str(number)} for number in range(COUNT)],
            }
        )
    )
    return path


def voc(folder: Path) -> Path:
    images(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for number, name in enumerate(NAMES):
        text = f"<object><name>kind {number}</name>{OBJECT}</object>"
        path = folder / "Annotations" / f"{number}.xml"
        path.write_text(f"<annotation><filename>{name}</filename>{text}</annotation>")
    return folder


def class_folders(folder: Path) -> Path:
    for name, pixels in zip("abc", PIXELS, strict=True):
        (folder / name).mkdir(parents=True)
        assert cv2.imwrite(str(folder / name / "x.png"), pixels)
    return folder


def lmdb(folder: Path) -> Path:
    database = pytest.importorskip("lmdb")
    datum = message_class("Datum")
    path = str(folder / "db")
    with database.open(path, map_size=1 << 20) as opened, opened.begin(write=True) as transaction:
        for number, pixels in enumerate(PIXELS):
            data = pixels.transpose(2, 0, 1).tobytes()
            value = datum(channels=3, height=4, width=6, data=data, label=number)
            transaction.put(f"{number:08}".encode(), value.SerializeToString())
    return folder / "db"


def leveldb(folder: Path) -> Path:
    datum = message_class("Datum")
    rows = []
    for number, pixels in enumerate(PIXELS):
        data = pixels.transpose(2, 0, 1).tobytes()
        value = datum(channels=3, height=4, width=6, data=data, label=number)
        rows.append((f"{number:08}".encode(), value.SerializeToString()))
    return write_leveldb(folder / "db", rows)


def hdf5(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "d.h5", "w") as file:
        file["data"] = PIXELS.transpose(0, 3, 1, 2).astype(np.float32)
        file["label"] = np.arange(float(COUNT))
    return folder / "d.h5"


def labelled_list(folder: Path) -> Path:
    images(folder)
    (folder / "list.txt").write_text("".join(f"{name} {k}\n" for k, name in enumerate(NAMES)))
    return folder / "list.txt"


def pairs(folder: Path) -> Path:
    images(folder)
    for number, name in enumerate(NAMES):
        assert cv2.imwrite(str(folder / f"map_{name}"), np.full((4, 6), number, np.uint8))
    (folder / "list.txt").write_text("".join(f"/{name} /map_{name}\n" for name in NAMES))
    return folder / "list.txt"


def plain_list(folder: Path) -> Path:
    images(folder)
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return folder / "list.txt"


def labels_beside(folder: Path) -> Path:
    images(folder / "images")
    (folder / "labels").mkdir()
    for number in range(COUNT):
        (folder / "labels" / f"{number}.txt").write_text(f"{number} 0.5 0.5 0.5 0.5\n")
    return folder


def data_file(folder: Path) -> Path:
    labels_beside(folder)
    (folder / "val.txt").write_text("".join(f"images/{name}\n" for name in NAMES))
    (folder / "x.names").write_text("a\nb\nc\n")
    (folder / "x.data").write_text("classes = 3\nvalid = val.txt\nnames = x.names\n")
    return folder / "x.data"


def idx(folder: Path) -> Path:
    for name, values in (("images-idx3", PIXELS), ("labels-idx1", np.arange(COUNT, dtype="u1"))):
        head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        (folder / f"x-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder / "x-images-idx3-ubyte.gz"


def packed(folder: Path) -> Path:
    class_folders(folder / "set")
    return Path(shutil.make_archive(str(folder / "set"), "gztar", folder, "set"))


def net_data(folder: Path) -> Path:
    database = lmdb(folder)
    (folder / "net.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "data" top: "label" '
        f'data_param {{ source: "{database.name}" }} }}\n'
    )
    return folder / "net.prototxt"


@dataclass(frozen=True, kw_only=True)
class DataSample:
    """How samples of a kind are made, and what they are.

    Args:
        write: makes them in a folder and returns the path to open.
        answers: the attribute of a batch with their answers; "" where they have none.
        detector: whether the network they are for finds objects.
        samples: how many there are.
    """

    write: Callable[[Path], Path]
    answers: str = ""
    detector: bool = False
    samples: int = COUNT


SAMPLES: Mapping[str, DataSample] = {
    "numpy": DataSample(write=archive, answers="labels"),
    "image": DataSample(write=one_image, samples=1),
    "COCO annotations": DataSample(write=coco, answers="objects", detector=True),
    "VOC annotations": DataSample(write=voc, answers="objects", detector=True),
    "image folder": DataSample(write=class_folders, answers="labels"),
    "Caffe LMDB": DataSample(write=lmdb, answers="labels"),
    "Caffe LevelDB": DataSample(write=leveldb, answers="labels"),
    "HDF5": DataSample(write=hdf5, answers="labels"),
    "list of images and labels": DataSample(write=labelled_list, answers="labels"),
    "list of pairs of images": DataSample(write=pairs, answers="labels"),
    "list of images": DataSample(write=plain_list),
    "images with label files": DataSample(write=labels_beside, answers="objects", detector=True),
    "IDX": DataSample(write=idx, answers="labels"),
    "archive": DataSample(write=packed, answers="labels"),
    "data of a Caffe net": DataSample(write=net_data, answers="labels"),
    "Darknet .data file": DataSample(write=data_file, answers="objects", detector=True),
}
"""Name of a kind → its samples."""
