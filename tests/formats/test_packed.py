"""Models in folders, and packed files of models."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import FormatError

ROOT = Path(__file__).resolve().parents[2]
CAFFE = [ROOT / "fixtures/shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [ROOT / "fixtures/shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
PACKINGS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def packed(files: list[Path], folder: Path, end: str) -> list[Path]:
    found = []
    for file in files:
        found.append(folder / f"{file.name}{end}")
        found[-1].write_bytes(PACKINGS[end](file.read_bytes()))
    return found


def copied(files: list[Path], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for file in files:
        shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize("end", PACKINGS)
@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_packed_files_are_read_and_written_plain(files, end, tmp_path, monkeypatch):
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    (tmp_path / "in").mkdir()
    network = secateur.load(*packed(files, tmp_path / "in", end))
    plain = secateur.load(*files)
    assert network.name == plain.name
    assert secateur.stored_bytes(network) == sum(file.stat().st_size for file in files)
    assert list(aside.iterdir()) == []  # files without names
    saved = secateur.save(network, tmp_path / "out")
    assert [path.name for path in saved.paths] == [file.name for file in files]
    assert [path.read_bytes() for path in saved.paths] == [file.read_bytes() for file in files]
    assert len(list((tmp_path / "in").iterdir())) == len(files)


def test_a_packed_onnx_file(tmp_path):
    network = secateur.load(*DARKNET)
    secateur.save(network, tmp_path / "net.onnx")
    (path,) = packed([tmp_path / "net.onnx"], tmp_path, ".gz")
    again = secateur.load(path)
    assert again.name == "net"
    x = {"data" if "data" in network.inputs else next(iter(network.inputs)): np.zeros(
        (1, *next(iter(network.inputs.values()))[1:]), np.float32)}  # fmt: skip
    for one, other in zip(secateur.Session(network).run(x).values(),
                          secateur.Session(again).run(x).values(), strict=True):  # fmt: skip
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_packed_weights_that_are_cut_short(tmp_path):
    text, weights = packed(CAFFE, tmp_path, ".gz")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"shapes\.caffemodel\.gz: its packing is cut short"):
        secateur.load(text, weights)


def test_packed_weights_that_were_made_to_fill_a_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("secateur.core.packed.ALWAYS", 1 << 20)
    weights = tmp_path / "shapes.weights.gz"
    weights.write_bytes(gzip.compress(DARKNET[1].read_bytes()[:20] + bytes(1 << 27)))
    with pytest.raises(FormatError, match=r"shapes\.weights\.gz: unpacked, it is more than 100"):
        secateur.load(DARKNET[0], weights)


def test_an_archive_is_no_model(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "net.tar.gz", "w:gz") as archive:
        archive.add(CAFFE[0], "net.prototxt")
    with pytest.raises(FormatError, match=r"this is a tar archive.*unpack it"):
        secateur.load(tmp_path / "net.tar.gz")


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_a_folder_stands_for_the_model_in_it(files, tmp_path):
    folder = copied(files, tmp_path / "net")
    (folder / "plan.yaml").write_text("version: 1\n")
    (folder / "solver.prototxt").write_text('net: "shapes.prototxt"\nbase_lr: 0.1\nmax_iter: 9\n')
    (folder / ".hidden.prototxt").write_text("")
    (folder / "other.onnx.data").write_bytes(b"weights")
    assert secateur.load(folder).name == secateur.load(*files).name
    names = [network.name for network in secateur.load_all([folder, *CAFFE])]
    assert names == [secateur.load(*files).name, secateur.load(*CAFFE).name]


def test_a_folder_with_several_models_lists_them(tmp_path):
    folder = copied(CAFFE, tmp_path / "net")
    shutil.copy(CAFFE[0], folder / "train_val.prototxt")
    listed = r"shapes\.caffemodel, shapes\.prototxt, train_val\.prototxt"
    with pytest.raises(FormatError, match=f"net: this folder holds more than one model: {listed}"):
        secateur.load(folder)
    (folder / "train_val.prototxt").unlink()
    copied(DARKNET, folder)
    with pytest.raises(FormatError, match=r"more than one model: .*shapes\.cfg.*shapes\.weights"):
        secateur.load(folder)


def test_a_folder_without_a_model_says_so(tmp_path):
    folder = copied(CAFFE[:1], tmp_path / "net")
    with pytest.raises(FormatError, match=r"no whole model: shapes\.prototxt \(hint: give"):
        secateur.load(folder)
    (folder / "shapes.prototxt").unlink()
    with pytest.raises(FormatError, match="no whole model: no file of one"):
        secateur.load(folder)
