"""Against the Darknet library itself, in a process of its own: it exits and crashes on errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, lacking

from secateur.core.errors import SecateurError
from secateur.formats.darknet.reader import load
from support.darknet import (
    difference,
    noise,
    read_document,
    run,
    smaller,
    with_random_weights,
    write,
)

LIBRARIES = (Path("/usr/lib/darknet/libdarknet.so"), Path("/usr/local/lib/libdarknet.so"))
CFGS = Path("/usr/share/darknet/cfg")
ALEXEYAB = sorted((SHARED / "structures" / "AlexeyAB+darknet").glob("*.cfg"))

PROGRAM = """
import ctypes, sys
import numpy as np
library, cfg, weights, data, out, count = sys.argv[1:]
darknet = ctypes.CDLL(library)
darknet.load_network.restype = ctypes.c_void_p
darknet.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
darknet.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
darknet.network_predict.restype = ctypes.POINTER(ctypes.c_float)
darknet.network_predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
network = darknet.load_network(cfg.encode(), weights.encode(), 0)
darknet.set_batch_network(network, 1)
image = np.ascontiguousarray(np.load(data))
found = darknet.network_predict(network, image.ctypes.data)
np.save(out, np.ctypeslib.as_array(found, (int(count),)))
"""


def predict(cfg: Path, weights: Path, data: np.ndarray, count: int) -> np.ndarray:
    """The network's output as the library computes it."""
    library = next((path for path in LIBRARIES if path.exists()), None)
    if library is None:
        lacking("Darknet's library is not installed")
    folder = weights.parent
    np.save(folder / "in.npy", data)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(library), str(cfg), str(weights),
         str(folder / "in.npy"), str(folder / "out.npy"), str(count)],
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")
    return np.load(folder / "out.npy")


def assert_same(cfg: Path, weights: Path, tolerance: float) -> None:
    network = load(cfg, weights, flavour="pjreddie")
    data = noise(network, count=1)
    # The library returns the last output that is no cost layer.
    name, value = list(run(network, data).items())[-1]
    found = predict(cfg, weights, data[0], value[0].size)
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 1e-6
    print(f"{cfg.name} {name}: {difference(value[0], found):.2g}")
    assert difference(value[0], found) < tolerance


@pytest.mark.parametrize(
    ("model", "side"), [("yolo_fastest_1.1_coco", 0), ("mobilenetv2_yolo_fastest_voc", 0)]
)
def test_real_models(shared: Path, tmp_path: Path, model: str, side: int) -> None:
    (cfg,) = (shared / "models" / model).glob("*.cfg")
    document = read_document(cfg)
    if "scale_x_y" in {key for block in document.sections for key in block.options}:
        document = document.replace(
            {
                (position, "scale_x_y"): 1
                for position, block in enumerate(document.sections)
                if "scale_x_y" in block.options
            }
        )
    single = document.replace({(0, "batch"): 1, (0, "subdivisions"): 1})
    (tmp_path / "model.cfg").write_bytes(bytes(single))
    (tmp_path / "model.weights").write_bytes(cfg.with_suffix(".weights").read_bytes())
    assert_same(tmp_path / "model.cfg", tmp_path / "model.weights", 1e-4)


RECURRENT = {"gru.cfg", "rnn.cfg", "rnn.train.cfg"}
SIDES = {
    "strided.cfg": 256,  # its [crop] cuts 224 pixels
    "vgg-16.cfg": 256,
    "yolov1.cfg": 448,  # its [local] and [detection] are made for one size
    "yolov1-tiny.cfg": 448,
    "go.cfg": 19,
    "go.test.cfg": 19,
    "cifar.cfg": 32,
    "cifar.test.cfg": 32,
    "alexnet.cfg": 227,
}
NARROW = {"darknet9000.cfg": 64, "yolo9000.cfg": 64, "alexnet.cfg": 32, "yolov1.cfg": 32,
          "cifar.cfg": 2}  # fmt: skip
CFG_FILES = sorted(CFGS.glob("*.cfg"))


def test_cfg_files_are_installed() -> None:
    if not CFG_FILES:
        lacking("Darknet's cfg files are not installed")
    assert len(CFG_FILES) >= 40
    assert RECURRENT | set(SIDES) | set(NARROW) <= {path.name for path in CFG_FILES}


@pytest.mark.parametrize("path", CFG_FILES, ids=lambda path: path.stem)
def test_every_shipped_cfg(path: Path, tmp_path: Path) -> None:
    document = read_document(path)
    if path.name in RECURRENT:
        with pytest.raises(SecateurError, match="remember earlier inputs"):
            load(*write(tmp_path, path.read_bytes()))
        return
    cfg = smaller(document, NARROW.get(path.name, 8), SIDES.get(path.name, 96))
    assert_same(*with_random_weights(tmp_path, cfg, flavour="pjreddie"), 1e-4)


@pytest.mark.parametrize("path", ALEXEYAB, ids=lambda path: path.stem)
def test_structures_of_alexeyab(path: Path, tmp_path: Path) -> None:
    cfg = smaller(read_document(path), 8, SIDES.get(path.name, 96))
    network = load(*with_random_weights(tmp_path, cfg))
    assert network.source is not None
    rendered = network.source.render(network)
    assert rendered[".cfg"] == cfg
    assert rendered[".weights"] == (tmp_path / "model.weights").read_bytes()
    for value in run(network, noise(network)).values():
        assert np.isfinite(value).all()
        assert value.std() > 0
