"""Files that are not what they are given as: each is called what it is."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import secateur
from secateur.formats.impostors import refuse_impostor, sniffed, stranger

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = FIXTURES / "shapes_caffe" / "shapes.prototxt", FIXTURES / "shapes_caffe/shapes.caffemodel"
DARKNET = FIXTURES / "shapes_darknet" / "shapes.cfg", FIXTURES / "shapes_darknet/shapes.weights"


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"\0" * 100)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("net.caffemodel"))
    return stream.getvalue()


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def old_torch() -> bytes:
    """The start of a checkpoint of PyTorch before 1.6: a magic number, pickled."""
    return pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)


STRANGERS = {
    "a web page": [b"<!DOCTYPE html>\n<html></html>", b"\n\n  <HTML><head>", b"\xef\xbb\xbf<html>"],
    "an XML or HTML text": [b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"],
    "the text of an OpenVINO network": [b'<?xml version="1.0"?>\n<net name="x" version="11">'],
    "a JSON text": [b'{"message": "Not Found"}'],
    "the message of a server": [b"404: Not Found", b"Not Found\n", b"AccessDenied"],
    "a Git LFS pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 9\n"],
    "a git-annex pointer": [b"/annex/objects/SHA256E-s1--0.caffemodel\n"],
    "a gzip file": [gzip.compress(b"x" * 100)],
    "a zip archive": [zipped("net.caffemodel")],
    "a tar archive": [tarred()],
    "a checkpoint of PyTorch": [zipped("archive/data.pkl", "archive/data/0"), old_torch()],
    "a pickle of Python": [pickle.dumps({"a": 1}, protocol=p) for p in (2, 3, 4, 5)],
    "a numpy archive": [zipped("x.npy", "y.npy")],
    "a numpy array": [saved(np.zeros(3))],
    "a network of Keras": [zipped("metadata.json", "config.json", "model.weights.h5")],
    "a file of safetensors": [struct.pack("<Q", 60) + b'{"weight":{"dtype":"F32"'],
    "a network of TensorFlow Lite": [b"\x1c\0\0\0TFL3" + b"\0" * 20],
    "a PNG image": [b"\x89PNG\r\n\x1a\n" + b"\0" * 20],
    "the state of a solver": [b"\x08\xe8\x07\x12\x13net_1000.caffemodel\x1a\x00"],
    "a mean image of Caffe": [b"\x08\x01\x10\x03\x18\x08\x20\x08\x2a\x04\0\0\0\0"],
    "a solver": [b'# mine\nnet: "train_val.prototxt"\nbase_lr: 0.01\nmax_iter: 9\n'],
    "a map of labels": [b'item {\n  name: "none"\n  label: 0\n}\n'],
    "a .data file of Darknet": [b"classes= 20\ntrain = /a/train.txt\nnames=x.names\n"],
}  # fmt: skip
EVERY = [(what, head) for what, heads in STRANGERS.items() for head in heads]
PLACES = {".prototxt": 0, ".caffemodel": 1, ".cfg": 2, ".weights": 3}


@pytest.mark.parametrize(("what", "head"), EVERY, ids=range(len(EVERY)))
def test_a_stranger_is_called_what_it_is_wherever_it_stands(
    what: str, head: bytes, tmp_path: Path
) -> None:
    for suffix, place in PLACES.items():
        files = [*CAFFE, *DARKNET][place // 2 * 2 : place // 2 * 2 + 2]
        path = tmp_path / f"net{suffix}"
        path.write_bytes(head)
        files[place % 2] = path
        with pytest.raises(secateur.FormatError) as caught:
            secateur.load(*files)
        line = str(caught.value)
        assert line.startswith(f"{path}: this is {what}")
        assert f", not a {suffix} file (hint: " in line
        assert "did you mean" not in line


def test_a_stranger_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(old_torch())
    with pytest.raises(secateur.FormatError, match="checkpoint of PyTorch, not a file of a model"):
        secateur.load(path)


def test_a_solver_names_its_net(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_bytes(STRANGERS["a solver"][0])
    with pytest.raises(secateur.FormatError, match=r"give the net that it names: train_val\.proto"):
        secateur.load(path, CAFFE[1])


def test_a_net_with_a_solver_in_its_comments_is_a_net() -> None:
    text = b"# net: 'x'\n# base_lr: 0.1\n" + CAFFE[0].read_bytes()
    assert stranger(text) is None
    refuse_impostor(text, ".prototxt")


@pytest.mark.parametrize("path", [*CAFFE, *DARKNET], ids=lambda path: path.suffix)
def test_real_files_are_no_strangers(path: Path) -> None:
    head = path.read_bytes()[:65536]
    assert stranger(head) is None
    assert sniffed(head) == path.suffix
    refuse_impostor(head, path.suffix)


def pairs(tmp_path: Path) -> dict[str, tuple[list[Path], str]]:
    """Files of one kind under the name of another → what is said."""
    onnx = tmp_path / "net.onnx"
    secateur.save(secateur.load(*CAFFE), onnx)
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["model_weights"] = np.zeros(3)
    content = {
        "onnx": onnx.read_bytes(),
        "prototxt": CAFFE[0].read_bytes(),
        "cfg": DARKNET[0].read_bytes(),
        "weights": DARKNET[1].read_bytes(),
        "caffemodel": CAFFE[1].read_bytes(),
        "hdf5": (tmp_path / "keras.h5").read_bytes(),
        "text": b"some notes\nabout the network\n",
    }

    def named(name: str, kind: str) -> Path:
        path = tmp_path / kind / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content[kind])
        return path

    looks = "this looks like a {} file, not a {} file"
    return {
        "onnx as caffemodel": ([CAFFE[0], named("a.caffemodel", "onnx")],
                               looks.format(".onnx", ".caffemodel")),
        "onnx as weights": ([DARKNET[0], named("a.weights", "onnx")],
                            looks.format(".onnx", ".weights")),
        "prototxt as caffemodel": ([CAFFE[0], named("a.caffemodel", "prototxt")],
                                   looks.format(".prototxt", ".caffemodel")),
        "cfg as weights": ([DARKNET[0], named("a.weights", "cfg")],
                           looks.format(".cfg", ".weights")),
        "weights as caffemodel": ([CAFFE[0], named("a.caffemodel", "weights")],
                                  looks.format(".weights", ".caffemodel")),
        "caffemodel as weights": ([DARKNET[0], named("a.weights", "caffemodel")],
                                  looks.format(".caffemodel", ".weights")),
        "cfg as prototxt": ([named("a.prototxt", "cfg"), CAFFE[1]],
                            looks.format(".cfg", ".prototxt")),
        "prototxt as cfg": ([named("a.cfg", "prototxt"), DARKNET[1]],
                            looks.format(".prototxt", ".cfg")),
        "weights as cfg": ([named("a.cfg", "weights"), DARKNET[1]],
                           looks.format(".weights", ".cfg")),
        "caffemodel as prototxt": ([named("a.prototxt", "caffemodel"), CAFFE[1]],
                                   looks.format(".caffemodel", ".prototxt")),
        "caffemodel as onnx": ([named("a.onnx", "weights")], "looks like a .weights file"),
        "hdf5 as weights": ([DARKNET[0], named("a.weights", "hdf5")],
                            "this is an HDF5 file, not a .weights file"),
        "hdf5 as caffemodel": ([CAFFE[0], named("a.caffemodel", "hdf5")],
                               "an HDF5 file, but no Caffe weights"),
        "text as weights": ([DARKNET[0], named("b.weights", "text")],
                            "this is a text, not a .weights file"),
    }  # fmt: skip


def test_files_of_other_formats_under_a_wrong_name(tmp_path: Path) -> None:
    for name, (files, message) in pairs(tmp_path).items():
        with pytest.raises(secateur.FormatError) as caught:
            secateur.load(*files)
        assert message in str(caught.value), name


def test_two_files_with_swapped_names_are_read_by_their_content(tmp_path: Path) -> None:
    text, weights = tmp_path / "a.caffemodel", tmp_path / "a.prototxt"
    text.write_bytes(CAFFE[0].read_bytes())
    weights.write_bytes(CAFFE[1].read_bytes())
    assert secateur.load(text, weights).layers == secateur.load(*CAFFE).layers


@pytest.mark.parametrize("pair", [CAFFE, DARKNET], ids=["caffe", "darknet"])
@pytest.mark.parametrize("keep", [0, 1, 0.5])
def test_a_download_that_broke_off(pair: tuple[Path, Path], keep: float, tmp_path: Path) -> None:
    text, whole = pair
    path = tmp_path / whole.name
    data = whole.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else 20])
    with pytest.raises(secateur.FormatError) as caught:
        secateur.load(text, path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert any(words in message for words in ("is empty", "cut short", "end too early", "no layer"))


def changed_blob(change: Callable[[bytes], bytes]) -> bytes:
    """A caffemodel of one layer `c` with one blob that holds what `change` makes of its shape."""
    from secateur.proto.caffe import message_class

    shape = message_class("BlobShape")(dim=[4]).SerializeToString()
    blob = b"\x3a" + bytes([len(shape)]) + shape
    blob += change(blob)
    layer = b"\x0a\x01c\x12\x09InnerPro." + b"\x3a" + bytes([len(blob)]) + blob
    return b"\xa2\x06" + bytes([len(layer)]) + layer


@pytest.mark.parametrize(
    "stored",
    [
        b"\x50\x03" + b"\x62\x04\1\2\3\4",  # raw_data_type INT, raw_data
        b"\xa2\x06\x04\1\2\3\4",  # a field of a fork with a byte a value
    ],
    ids=["raw_data", "a field of a fork"],
)
def test_blobs_of_integers_are_quantised(stored: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(changed_blob(lambda _: stored))
    with pytest.raises(secateur.FormatError) as caught:
        secateur.load(CAFFE[0], path)
    assert "holds integers: the network is quantised" in str(caught.value)
    assert "prune the network before it is quantised" in str(caught.value)
