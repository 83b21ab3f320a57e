"""Telling files apart by content, whatever they are called and in whatever order they come."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

import secateur
from secateur.formats.files import identify, models

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = (FIXTURES / "shapes_caffe/shapes.prototxt", FIXTURES / "shapes_caffe/shapes.caffemodel")
DARKNET = (FIXTURES / "shapes_darknet/shapes.cfg", FIXTURES / "shapes_darknet/shapes.weights")


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    secateur.save(secateur.load(*CAFFE), path)
    return path


@pytest.mark.parametrize("path", [*CAFFE, *DARKNET], ids=lambda p: p.name)
def test_content_tells_what_a_file_is(path, tmp_path):
    renamed = tmp_path / "file.bin"
    shutil.copy(path, renamed)
    assert identify(renamed) == path.suffix


def test_onnx_is_told_by_content(onnx_file, tmp_path):
    renamed = tmp_path / "model"
    shutil.copy(onnx_file, renamed)
    assert identify(renamed) == ".onnx"
    assert secateur.load(renamed).source.format == "onnx"


def test_files_come_in_any_order():
    for order in itertools.permutations(DARKNET):
        assert secateur.load(*order).source.format == "darknet"


def test_two_models_are_told_apart(onnx_file):
    found = models([*CAFFE, *DARKNET, onnx_file])
    assert [sorted(model) for model in found] == [
        [".caffemodel", ".prototxt"],
        [".cfg", ".weights"],
        [".onnx"],
    ]


def test_two_models_of_one_format_pair_in_order(tmp_path):
    twin = [Path(shutil.copy(path, tmp_path)) for path in DARKNET]
    found = models([*DARKNET, *twin])
    assert found == [
        {".cfg": DARKNET[0], ".weights": DARKNET[1]},
        {".cfg": twin[0], ".weights": twin[1]},
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no file was given"),
        ((CAFFE[0],), "shapes.prototxt: looks like a .prototxt file, and a .caffemodel"),
        ((DARKNET[1],), "shapes.weights: looks like a .weights file, and its .cfg is missing"),
        ((CAFFE[0], DARKNET[1]), "these files do not make up a model"),
        ((Path("nowhere.cfg"), DARKNET[1]), "nowhere.cfg: no such file"),
        ((*CAFFE, *DARKNET), "2 models were given, one is needed"),
    ],
)
def test_sets_that_make_no_model_are_refused(files, message):
    with pytest.raises(secateur.FormatError, match=message):
        secateur.load(*files)


def test_a_file_of_no_kind_is_refused(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(secateur.FormatError, match="this is a zip archive, not a file of a model"):
        secateur.load(path)


def test_an_unknown_setting_is_a_mistake_of_the_caller():
    with pytest.raises(secateur.SecateurError, match=r"no option .flavor. .*mean flavour"):
        secateur.load(*DARKNET, flavor="alexeyab")
