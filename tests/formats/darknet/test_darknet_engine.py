"""Against the Darknet library itself, in a process of its own: it exits and crashes on errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import lacking

from secateur.formats.darknet.reader import load
from support.darknet import difference, noise, read_document, run, smaller, with_random_weights

LIBRARIES = (Path("/usr/lib/darknet/libdarknet.so"), Path("/usr/local/lib/libdarknet.so"))
CFGS = Path("/usr/share/darknet/cfg")

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


@pytest.mark.parametrize(
    ("name", "factor", "side"),
    [
        ("tiny.cfg", 2, 96),
        ("darknet19.cfg", 16, 96),
        ("resnet18.cfg", 8, 128),
        ("resnet34.cfg", 8, 128),
        ("densenet201.cfg", 4, 64),
        ("yolov2-tiny-voc.cfg", 8, 96),
        ("yolov2.cfg", 16, 96),
        ("yolov3-tiny.cfg", 8, 96),
        ("yolov3-spp.cfg", 16, 96),
        ("resnext50.cfg", 1, 64),
    ],
)
def test_published_architectures(tmp_path: Path, name: str, factor: int, side: int) -> None:
    if not (CFGS / name).exists():
        lacking("Darknet's cfg files are not installed")
    cfg = smaller(read_document(CFGS / name), factor, side)
    assert_same(*with_random_weights(tmp_path, cfg, flavour="pjreddie"), 1e-4)
