"""docs/deploy.md: its Python runs, and README and page agree on what OpenCV 4 reads."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUNTIMES = ("OpenCV 4", "OpenCV 5", "ncnn", "MNN", "Darknet", "Caffe", "ONNX Runtime")
COMMANDS = (
    "readNetFromCaffe(", "readNetFromDarknet(", "caffe2ncnn ", "darknet2ncnn ",
    "mnnconvert -f CAFFE", "darknet detector test ", "caffe test -model ", "secateur convert ",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for kind, ends in (("caffe", ("prototxt", "caffemodel")), ("darknet", ("cfg", "weights"))):
        network = secateur.load(*(ROOT / f"fixtures/shapes_{kind}/shapes.{end}" for end in ends))
        pruned = secateur.prune(network, rate=0.2).network
        (tmp_path / "pruned").mkdir(exist_ok=True)
        secateur.save(pruned, tmp_path / f"pruned/net.{ends[0]}")
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    assert cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_page_gives_what_secateur_computes(folder):
    caffe = secateur.load("pruned/net.prototxt", "pruned/net.caffemodel")
    secateur.save(caffe, "net.onnx")
    darknet = secateur.load("pruned/net.cfg", "pruned/net.weights")
    blocks = BLOCK.findall(PAGE)
    assert len(blocks) == 3
    blob = cv2.imread("photo.png", cv2.IMREAD_GRAYSCALE)[None, None].astype(np.float32) / 255
    for block, network in zip(blocks, (caffe, darknet, caffe), strict=True):
        names: dict[str, object] = {}
        exec(compile(block, "deploy.md", "exec"), names)
        found = names.get("scores", names.get("outputs"))
        found = np.asarray(found[0] if isinstance(found, list | tuple) else found).reshape(-1)
        (wanted,) = secateur.Session(network).run({next(iter(network.inputs)): blob}).values()
        np.testing.assert_allclose(found, wanted.reshape(-1), atol=1e-4)


@pytest.mark.parametrize("text", [PAGE, README], ids=["page", "README"])
def test_all_runtimes_and_their_commands_are_there(text):
    for runtime in RUNTIMES:
        assert re.search(rf"^\| [^|]*{runtime}", text, re.MULTILINE), runtime
    for command in COMMANDS:
        assert command in text, command
    assert "opencv-python<5" in text


def test_the_release_that_reads_these_files_is_the_one_of_the_tests():
    assert cv2.__version__.split(".")[0] == "4"
    tried = re.search(r"OpenCV 4 \(tried: (\d+)\.", PAGE)
    assert tried is not None
    assert tried[1] == "4"
