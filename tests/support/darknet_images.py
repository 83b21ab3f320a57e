"""Darknet's own image loader, resizing and boxes, in a process of its own: it may exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import lacking

LIBRARIES = (Path("/usr/lib/darknet/libdarknet.so"), Path("/usr/local/lib/libdarknet.so"))

PREAMBLE = """
import ctypes, sys
import numpy as np

class Image(ctypes.Structure):
    _fields_ = [("w", ctypes.c_int), ("h", ctypes.c_int), ("c", ctypes.c_int),
                ("data", ctypes.POINTER(ctypes.c_float))]

class Detection(ctypes.Structure):
    _fields_ = [("bbox", ctypes.c_float * 4), ("classes", ctypes.c_int),
                ("prob", ctypes.POINTER(ctypes.c_float)), ("mask", ctypes.POINTER(ctypes.c_float)),
                ("objectness", ctypes.c_float), ("sort_class", ctypes.c_int)]

lib = ctypes.CDLL(sys.argv[1])
for name in ("load_image_color", "letterbox_image", "resize_image"):
    getattr(lib, name).restype = Image
lib.load_image_color.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
lib.letterbox_image.argtypes = lib.resize_image.argtypes = [Image, ctypes.c_int, ctypes.c_int]

def pixels(image):
    return np.ctypeslib.as_array(image.data, (image.c, image.h, image.w)).copy()
"""

LOAD = """
image = lib.load_image_color(sys.argv[2].encode(), 0, 0)
width, height = int(sys.argv[3]), int(sys.argv[4])
np.savez(sys.argv[5], plain=pixels(image),
         stretched=pixels(lib.resize_image(image, width, height)),
         boxed=pixels(lib.letterbox_image(image, width, height)))
"""

DETECT = """
lib.load_network.restype = ctypes.c_void_p
lib.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
lib.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.network_predict.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)]
lib.get_network_boxes.restype = ctypes.POINTER(Detection)
lib.get_network_boxes.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_float,
    ctypes.c_float, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
lib.do_nms_sort.argtypes = [ctypes.POINTER(Detection), ctypes.c_int, ctypes.c_int, ctypes.c_float]
cfg, weights, out, width, height, mode, score, overlap = sys.argv[2:10]
width, height = int(width), int(height)
network = lib.load_network(cfg.encode(), weights.encode(), 0)
lib.set_batch_network(network, 1)
rows = []
for number, path in enumerate(sys.argv[10:]):
    image = lib.load_image_color(path.encode(), 0, 0)
    made = (lib.letterbox_image if mode == "boxed" else lib.resize_image)(image, width, height)
    lib.network_predict(network, made.data)
    count = ctypes.c_int()
    # Boxes are turned back as if letterboxed: what was stretched gets the network's own size.
    size = (image.w, image.h) if mode == "boxed" else (width, height)
    found = lib.get_network_boxes(network, *size, float(score), 0.5, None, 1, ctypes.byref(count))
    if float(overlap):
        lib.do_nms_sort(found, count.value, found[0].classes if count.value else 0, float(overlap))
    for k in range(count.value):
        x, y, w, h = found[k].bbox
        for c in range(found[k].classes):
            if found[k].prob[c] > 0:
                rows.append((number, c, found[k].prob[c], (x - w / 2) * image.w,
                             (y - h / 2) * image.h, (x + w / 2) * image.w, (y + h / 2) * image.h))
np.save(out, np.array(rows, np.float64).reshape(-1, 7))
"""

READ = """
lib.load_network.restype = ctypes.c_void_p
lib.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
lib.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.network_predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
lib.network_predict.restype = ctypes.POINTER(ctypes.c_float)
lib.get_network_boxes.restype = ctypes.POINTER(Detection)
lib.get_network_boxes.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_float,
    ctypes.c_float, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
cfg, weights, values, out, width, height, score, classes = sys.argv[2:]
width, height, classes = int(width), int(height), int(classes)
network = lib.load_network(cfg.encode(), weights.encode(), 0)
lib.set_batch_network(network, 1)
blank = np.zeros((3, height, width), np.float32)
rows = []
for number, value in enumerate(np.load(values)):
    output = lib.network_predict(network, blank.ctypes.data)
    np.ctypeslib.as_array(output, (value.size,))[:] = value.ravel()
    count = ctypes.c_int()
    found = lib.get_network_boxes(network, width, height, float(score), 0.5, None, 1,
                                  ctypes.byref(count))
    for k in range(count.value):
        x, y, w, h = found[k].bbox
        for c in range(classes):  # a region head does not tell them
            if found[k].prob[c] > 0:
                rows.append((number, c, found[k].prob[c],
                             x - w / 2, y - h / 2, x + w / 2, y + h / 2))
np.save(out, np.array(rows, np.float64).reshape(-1, 7))
"""


def load_image(path: Path, width: int, height: int, folder: Path) -> dict[str, np.ndarray]:
    """An image as the library reads it: plain, stretched and letterboxed, C×H×W in 0…1."""
    _run(LOAD, path, width, height, folder / "pixels.npz")
    with np.load(folder / "pixels.npz") as archive:
        return dict(archive)


def detect(
    cfg: Path,
    weights: Path,
    images: list[Path],
    folder: Path,
    *,
    size: tuple[int, int],
    mode: str = "stretched",
    score: float,
    overlap: float = 0.0,
) -> np.ndarray:
    """Rows of image, class, score, x0, y0, x1, y1 in pixels of the image."""
    out = folder / "boxes.npy"
    _run(DETECT, cfg, weights, out, *size, mode, score, overlap, *images)
    return np.asarray(np.load(out))


def boxes_of(
    cfg: Path,
    weights: Path,
    outputs: np.ndarray,
    folder: Path,
    *,
    size: tuple[int, int],
    score: float,
    classes: int,
) -> np.ndarray:
    """Rows as :func:`detect` gives them, in parts of the input, from given outputs of the head."""
    np.save(folder / "outputs.npy", outputs)
    out = folder / "boxes.npy"
    _run(READ, cfg, weights, folder / "outputs.npy", out, *size, score, classes)
    return np.asarray(np.load(out))


def _run(program: str, *arguments: object) -> None:
    library = next((path for path in LIBRARIES if path.exists()), None)
    if library is None:
        lacking("Darknet's library is not installed")
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program, str(library), *map(str, arguments)],
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")
