"""Lists, databases, HDF5 and mean files of Caffe."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur
from secateur.core.data import Dataset
from secateur.core.data.labels import check_labels
from secateur.core.errors import DataError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Network, Preprocess
from secateur.formats.caffe.data.mean import read_mean
from secateur.proto.caffe import message_class
from support.graphs import Graph


def network(size: tuple[int, ...] = (3, 4, 6), channels: int = 0) -> Network:
    b = Builder("net")
    x = b.input("data", ("N", *size))
    out = b.op("Identity", x) if channels == 0 else b.op("Concat", *[x] * channels, axis=1)
    return Network(name="net", model=b.finish({"out": out}))


def image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 6, 3), value, np.uint8))
    return path


def pairs(dataset: Dataset) -> list[tuple[int, int]]:
    return [
        (int(x[0, 0, 0]), int(label))
        for batch in dataset
        for x, label in zip(batch.inputs["data"], batch.labels, strict=True)
    ]


def test_pixels_of_other_classes(tmp_path: Path) -> None:
    image(tmp_path / "i.png")
    g = Graph(size=4)
    net = g.network(out=g.conv("scores", g.conv("inner", g.data, 5), 6))
    rows = {"good": [0, 1, 2, 3], "bad": [0, 255, 11, 3], "same": [0, 255, 255, 3]}
    maps = {name: np.repeat(np.array(row, np.uint8)[:, None], 6, 1) for name, row in rows.items()}
    for name, classes in maps.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), classes)
        (tmp_path / f"{name}.txt").write_text(f"i.png good.png\ni.png {name}.png\n")
        y = np.stack([maps["good"], classes])[:, :, :4]
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((2, 3, 4, 4), np.float32), y=y)
    for kind, place in (("txt", "bad.txt:2"), ("npz", r"bad\.npz: y\[1\]")):
        path = tmp_path / f"bad.{kind}"
        told = f"{place}: a pixel of the map is of class 11, but .* 6 classes .*--ignore-label 11"
        with pytest.raises(DataError, match=told):
            secateur.evaluate(net, secateur.open_dataset(path, net))
        with pytest.raises(DataError, match=told):
            secateur.analyze(net, secateur.open_dataset(path, net))
        result = secateur.evaluate(net, secateur.open_dataset(path, net, ignore_label=11))
        assert result == secateur.evaluate(
            net, secateur.open_dataset(tmp_path / f"same.{kind}", net)
        )


def test_a_list_with_blanks_in_paths(tmp_path: Path) -> None:
    image(tmp_path / "a b/c 1.png", 5)
    image(tmp_path / "d.png", 6)
    path = tmp_path / "list.txt"
    path.write_text("a b/c 1.png 12\n\n  d.png\t3\r\n")
    assert pairs(secateur.open_dataset(path, network())) == [(5, 12), (6, 3)]
    (tmp_path / "lists").mkdir()
    path = path.rename(tmp_path / "lists/list.txt")
    assert pairs(secateur.open_dataset(path, network())) == [(5, 12), (6, 3)]
    moved = path.rename(tmp_path / "lists" / "x.txt")
    image(tmp_path / "root/a b/c 1.png", 7)
    image(tmp_path / "root/d.png", 8)
    dataset = secateur.open_dataset(moved, network(), root=tmp_path / "root")
    assert pairs(dataset) == [(7, 12), (8, 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i.png 1\nj.png\n", r"list\.txt:2: 'j.png' is not 'path label'"),
        ("i.png 1\ni.png 1.5\n", r"list\.txt:2: 'i.png 1.5' is not 'path label'"),
        ("missing.png 1\n", r"list\.txt:1: there is no image 'missing.png' \(hint: --root"),
    ],
)
def test_broken_lists(tmp_path: Path, text: str, message: str) -> None:
    image(tmp_path / "i.png")
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        secateur.open_dataset(path, network())
    assert "\n" not in str(raised.value)


def test_labels_of_other_classes(tmp_path: Path) -> None:
    image(tmp_path / "i.png")
    (tmp_path / "list.txt").write_text("i.png 1\n\ni.png 2\n")
    (batch,) = secateur.open_dataset(tmp_path / "list.txt", network())
    with pytest.raises(DataError, match=r"list\.txt:3: the label is 2, but the network tells 2 "):
        check_labels(batch.labels, 2, batch.places)


def test_images_of_a_list_that_are_missing_are_left_out(tmp_path: Path) -> None:
    image(tmp_path / "i.png")
    (tmp_path / "list.txt").write_text("i.png 1\nj.png 2\ni.png -1\n")
    dataset = secateur.open_dataset(tmp_path / "list.txt", network())
    assert pairs(dataset) == [(0, 1)]
    first, second = dataset.problems
    assert "list.txt:2: there is no image" in first
    assert "list.txt:3: the label -1 is negative" in second
    (tmp_path / "list.txt").write_text("i.png 1\n" + "j.png 2\n" * 11)
    with pytest.raises(DataError, match=r"more than 10 .*list\.txt:12"):
        list(secateur.open_dataset(tmp_path / "list.txt", network()))


def test_pairs_of_images_are_maps_or_targets(tmp_path: Path) -> None:
    image(tmp_path / "in/a.png", 3)
    assert cv2.imwrite(str(tmp_path / "map.png"), np.full((4, 6), 2, np.uint8))
    path = tmp_path / "list.txt"
    path.write_text("/in/a.png /map.png\n")
    (batch,) = secateur.open_dataset(path, network(channels=2))
    assert batch.labels.shape == (1, 4, 6)
    assert (batch.labels == 2).all()
    stacked = network(channels=2)
    result = secateur.evaluate(stacked, secateur.open_dataset(path, stacked))
    assert (result.metric, result.per_class) == ("Mean IoU", {0: 0.0, 2: 0.0})
    image(tmp_path / "out.png", 4)
    path.write_text("in/a.png out.png\n")
    (batch,) = secateur.open_dataset(path, network(), preprocess=Preprocess(scale=0.5))
    assert batch.values.shape == (1, 3, 4, 6)
    assert (batch.values == 2).all()
    result = secateur.evaluate(network(), secateur.open_dataset(path, network()))
    assert result.mse == 1


def write_lmdb(path: Path, *values: bytes) -> Path:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=1 << 24) as database, database.begin(write=True) as t:
        for number, value in enumerate(values):
            t.put(f"{number:08}".encode(), value)
    return path


def datum(**fields: object) -> bytes:
    return message_class("Datum")(**fields).SerializeToString()


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def test_raw_and_encoded_datums(tmp_path: Path) -> None:
    raw = PIXELS.transpose(2, 0, 1).tobytes()
    encoded = cv2.imencode(".png", PIXELS)[1].tobytes()
    path = write_lmdb(
        tmp_path / "db",
        datum(channels=3, height=4, width=6, data=raw, label=4),
        datum(data=encoded, encoded=True, label=9),
    )
    for name in (path, path / "data.mdb"):
        (batch,) = secateur.open_dataset(name, network())
        assert batch.labels.tolist() == [4, 9]
        with pytest.raises(DataError, match="key '00000001': the label is 9, but the network"):
            check_labels(batch.labels, 5, batch.places)
        for made in batch.inputs["data"]:
            np.testing.assert_array_equal(made, PIXELS.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\xff\xff", "the value is no Datum"),
        (datum(channels=3, height=4, width=6, data=b"123", label=1), "3 bytes for 3×4×6 pixels"),
        (datum(channels=5, height=4, width=6, data=bytes(120), label=1), "5×4×6 is no image"),
        (datum(data=b"junk", encoded=True, label=1), "no image that OpenCV can read"),
        (datum(channels=1, height=1, width=1, data=b"1", label=-1), "label -1 is negative"),
        (datum(channels=1, height=1, width=2, float_data=[1, 2]), "numbers with a point"),
    ],
)
def test_broken_datums(tmp_path: Path, value: bytes, message: str) -> None:
    path = write_lmdb(tmp_path / "db", value)
    with pytest.raises(DataError, match=rf"db: key '00000000': .*{message}"):
        list(secateur.open_dataset(path, network()))


def test_databases_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    (tmp_path / "db").mkdir()
    (tmp_path / "db/data.mdb").write_bytes(b"junk" * 3000)
    with pytest.raises(DataError, match="db: the database cannot be opened"):
        secateur.open_dataset(tmp_path / "db", network())
    with pytest.raises(DataError, match="the database is empty"):
        secateur.open_dataset(write_lmdb(tmp_path / "empty"), network())


@pytest.mark.parametrize(("package", "extra"), [("lmdb", "lmdb"), ("h5py", "hdf5")])
def test_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "data.mdb").write_bytes(b"")
    (tmp_path / "x.h5").write_bytes(b"")
    path = tmp_path / ("data.mdb" if package == "lmdb" else "x.h5")
    with pytest.raises(DataError, match=rf"needs the package {package} .*secateur\[{extra}\]"):
        secateur.open_dataset(path, network())


def test_hdf5_files_and_lists_of_them(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    x = np.random.default_rng(0).random((5, 3, 4, 6)).astype(np.float32)
    for name, part in (("a.h5", slice(0, 3)), ("b.h5", slice(3, 5))):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["label"] = x[part], np.arange(5.0)[part, None]
    (tmp_path / "list.txt").write_text("a.h5\nb.h5\n")
    dataset = secateur.open_dataset(tmp_path / "list.txt", network(), batch=2)
    assert (dataset.samples, dataset.labelled) == (5, True)
    batches = list(dataset)
    assert [batch.size for batch in batches] == [2, 1, 2]
    np.testing.assert_array_equal(np.concatenate([b.inputs["data"] for b in batches]), x)
    assert np.concatenate([b.labels for b in batches]).tolist() == [0, 1, 2, 3, 4]
    assert secateur.open_dataset(tmp_path / "list.txt", network(), limit=4).samples == 4
    with pytest.raises(DataError, match=r"b\.h5: label\[1\]: the label is 4, but the network"):
        check_labels(batches[2].labels, 4, batches[2].places)
    (tmp_path / "list.txt").write_text("a.h5\nc.h5\n")
    with pytest.raises(DataError, match=r"list\.txt:2: there is no file 'c\.h5'"):
        secateur.open_dataset(tmp_path / "list.txt", network())
    with pytest.raises(DataError, match=r"a\.h5: dataset 'data' is 3×3×4×6, but input .*N×3×4×5"):
        secateur.open_dataset(tmp_path / "a.h5", network((3, 4, 5)))
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"junk\.h5: cannot be read as HDF5"):
        secateur.open_dataset(tmp_path / "junk.h5", network())


def test_mean_files(tmp_path: Path) -> None:
    mean = np.random.default_rng(0).random((3, 4, 6)).astype(np.float32)
    blob = message_class("BlobProto")
    old = blob(num=1, channels=3, height=4, width=6, data=mean.ravel().tolist())
    new = blob(data=mean.ravel().tolist())
    new.shape.dim.extend([1, 3, 4, 6])
    for number, message in enumerate((old, new)):
        path = tmp_path / f"{number}.binaryproto"
        path.write_bytes(message.SerializeToString())
        np.testing.assert_array_equal(read_mean(path), mean)
        image(tmp_path / "i.png", 9)
        (batch,) = secateur.open_dataset(
            tmp_path / "i.png", network(), preprocess=Preprocess(mean_file=str(path))
        )
        np.testing.assert_array_equal(batch.inputs["data"][0], 9 - mean)
    (tmp_path / "bad").write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="bad: this is no mean image"):
        read_mean(tmp_path / "bad")
    (tmp_path / "short").write_bytes(blob(num=1, channels=3, height=4, width=6).SerializeToString())
    with pytest.raises(
        DataError, match=r"short: the mean image is (1×)?3×4×6, but the file holds 0"
    ):
        read_mean(tmp_path / "short")
    with pytest.raises(DataError, match=r"'gone\.binaryproto' is not there .*--mean-file"):
        secateur.open_dataset(
            tmp_path / "i.png", network(), preprocess=Preprocess(mean_file="gone.binaryproto")
        )


@pytest.mark.parametrize(
    "lines",
    [
        "{}.png {} n0144{}",
        "{}.png n0144 {}",
        "{}.png {} tench, Tinca tinca",
        "{}.png,{},tench",
        '"{}.png";{};"a tench"',
        "{}.png\t2 fish and more\t{}",
        "{}.png, {}",
    ],
)
def test_a_list_with_three_columns(lines: str, tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b c")):
        image(tmp_path / f"{name}.png", number)
    for heading in ("", "file,class,name\n"):
        text = "".join(lines.format(name, n, 7) + "\n" for n, name in enumerate(("a", "b c")))
        (tmp_path / "list.txt").write_text(heading + text)
        data = secateur.open_dataset(tmp_path / "list.txt", network())
        assert pairs(data) == [(0, 0), (1, 1)]


def test_two_numbers_behind_an_image_are_not_guessed(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png 1 2\n")
    with pytest.raises(DataError, match=r"list.txt:1: 'a.png 1 2' has several numbers"):
        secateur.open_dataset(tmp_path / "list.txt", network())
