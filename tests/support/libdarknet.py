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
