"""Darknet's own library, run in a process of its own: it exits and crashes on errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import lacking

LIBRARIES = (Path("/usr/lib/darknet/libdarknet.so"), Path("/usr/local/lib/libdarknet.so"))

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

TRAINING = """
import ctypes, sys
import numpy as np
library, cfg, weights, data, out, after = sys.argv[1:]
rows = ctypes.POINTER(ctypes.POINTER(ctypes.c_float))
class Matrix(ctypes.Structure):
    _fields_ = [("rows", ctypes.c_int), ("cols", ctypes.c_int), ("vals", rows)]
class Data(ctypes.Structure):
    _fields_ = [("w", ctypes.c_int), ("h", ctypes.c_int), ("X", Matrix), ("y", Matrix),
                ("shallow", ctypes.c_int), ("num_boxes", ctypes.c_void_p),
                ("boxes", ctypes.c_void_p)]
def matrix(array):
    pointers = [row.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for row in array]
    listed = (ctypes.POINTER(ctypes.c_float) * len(array))(*pointers)
    return Matrix(*array.shape, listed)
darknet = ctypes.CDLL(library)
darknet.load_network.restype = ctypes.c_void_p
darknet.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
darknet.train_network.restype = ctypes.c_float
darknet.train_network.argtypes = [ctypes.c_void_p, Data]
darknet.save_weights.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
network = darknet.load_network(cfg.encode(), weights.encode(), 0)
content = np.load(data)
x, y = (np.ascontiguousarray(content[name], np.float32) for name in ("x", "y"))
given = Data()
given.X, given.y = matrix(x), matrix(y)
np.save(out, np.float32(darknet.train_network(network, given)))
darknet.save_weights(network, after.encode())
"""


def train(cfg: Path, weights: Path, images: np.ndarray, truths: np.ndarray) -> tuple[float, Path]:
    """Train with as many images as the cfg's batch: the cost an image, and the weights.

    Args:
        cfg: of the network.
        weights: that it starts from.
        images: images × values.
        truths: what the last layer is told, as it reads it: images × values.
    """
    folder = weights.parent
    np.savez(folder / "given.npz", x=images.reshape(len(images), -1), y=truths)
    cost, after = folder / "cost.npy", folder / "after.weights"
    _run(TRAINING, cfg, weights, folder / "given.npz", cost, after)
    return float(np.load(cost)), after


def predict(cfg: Path, weights: Path, data: np.ndarray, count: int) -> np.ndarray:
    """The network's output as the library computes it."""
    folder = weights.parent
    np.save(folder / "in.npy", data)
    _run(PROGRAM, cfg, weights, folder / "in.npy", folder / "out.npy", count)
    return np.load(folder / "out.npy")


def _run(program: str, *arguments: object) -> None:
    library = next((path for path in LIBRARIES if path.exists()), None)
    if library is None:
        lacking("Darknet's library is not installed")
    done = subprocess.run(
        [sys.executable, "-c", program, str(library), *map(str, arguments)],
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")
