"""What the Darknet tests share: running networks, making weights, the golden cases."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core.engine.session import Session
from secateur.core.ir.network import Network, tensors_by_blob
from secateur.formats.darknet.document import Document, parse
from secateur.formats.darknet.reader import load

HEADER = struct.pack("<3iq", 0, 2, 0, 0)


def index(shared: Path) -> dict[str, Any]:
    """The table of the golden cases."""
    loaded: dict[str, Any] = json.loads((shared / "golden/darknet/index.json").read_text())
    return loaded


def run(network: Network, data: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs for a batch of inputs."""
    return Session(network, threads=1).run({"data": data.astype(np.float32)})


def noise(network: Network, count: int = 2, seed: int = 0) -> np.ndarray:
    """A batch of inputs between 0 and 1."""
    shape = [dim for dim in network.inputs["data"][1:] if isinstance(dim, int)]
    return np.random.default_rng(seed).random((count, *shape), dtype=np.float32)


def write(folder: Path, cfg: str | bytes, weights: bytes = HEADER) -> tuple[Path, Path]:
    """Write a pair of files."""
    paths = folder / "model.cfg", folder / "model.weights"
    paths[0].write_bytes(cfg.encode() if isinstance(cfg, str) else cfg)
    paths[1].write_bytes(weights)
    return paths


def make_weights(network: Network, seed: int = 0) -> bytes:
    """Random weights for a network read without them, in file order, that keep values in bounds."""
    rng = np.random.default_rng(seed)
    parts = [HEADER]
    for ref, tensor in sorted(tensors_by_blob(network.model).items()):
        shape = tuple(int(dim) for dim in tensor.shape)
        if ref.name == "weight":
            fan = max(int(np.prod(shape[1:])), 1)
            values = rng.normal(0, (2 / fan) ** 0.5, shape)
        elif ref.name in ("scale", "rolling_variance"):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.1, shape)
        parts.append(values.astype("<f4").tobytes())
    return b"".join(parts)


def with_random_weights(
    folder: Path, cfg: str | bytes, *, flavour: str = "auto", seed: int = 0
) -> tuple[Path, Path]:
    """Write a cfg with random weights that fit it."""
    paths = write(folder, cfg)
    network = load(*paths, flavour=flavour, partial=True)
    return write(folder, cfg, make_weights(network, seed))


def smaller(document: Document, factor: int, side: int = 0) -> bytes:
    """A narrower copy of a cfg, for a smaller input where `side` is given.

    Layers before a detection head, and those whose channels a tree of classes counts, keep theirs.
    """
    heads = ("yolo", "region", "detection")
    trees = any("tree" in block.options for block in document.sections)
    values: dict[tuple[int, str], int] = {(0, "batch"): 1, (0, "subdivisions"): 1}
    if side:
        values |= {(0, "width"): side, (0, "height"): side}
    for position, block in enumerate(document.sections[:-1]):
        following = document.sections[position + 1].name
        for key in ("filters", "output", "groups"):
            option = block.options.get(key)
            if option is None or block.name in ("net", "softmax", "route"):
                continue
            count = int(option.value or 1)
            if key != "groups" and (following in heads or (trees and count > 9000)):
                continue
            values[position, key] = max(count // factor, 1)
    return bytes(document.replace(values))


def read_document(path: Path) -> Document:
    """Parse a file."""
    return parse(path.read_bytes(), str(path))


def unpack(case: Path, folder: Path) -> tuple[Path, Path]:
    """Copy a malformed case, unpacking what is packed."""
    for entry in case.iterdir():
        if entry.suffix == ".gz":
            (folder / entry.stem).write_bytes(gzip.decompress(entry.read_bytes()))
        elif entry.is_dir():
            (folder / entry.name).mkdir()
        else:
            shutil.copyfile(entry, folder / entry.name)
    return folder / "model.cfg", folder / "model.weights"


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """max |got − expected| / max(1, max |expected|), whatever the shapes."""
    assert got.size == expected.size, f"{got.shape} against {expected.shape}"
    worst = np.abs(got.ravel() - expected.ravel()).max(initial=0)
    return float(worst / max(1.0, np.abs(expected).max(initial=0)))
