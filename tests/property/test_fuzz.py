"""Every parser on broken files, for as long as SECATEUR_FUZZ_SECONDS says.

Sound files are mutilated by a seeded generator. Whatever comes of it: a result or a SecateurError
that names the file, in bounded time and memory, and nothing else.
"""

from __future__ import annotations

import faulthandler
import io
import os
import random
import resource
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SHARED

import secateur
from secateur.core.errors import SecateurError, located
from secateur.core.ir.network import Network
from secateur.workflows.datasets import open_dataset
from support import mutation
from support.caffe import GOLDEN as CAFFE
from support.darknet import with_random_weights

SECONDS = float(os.environ.get("SECATEUR_FUZZ_SECONDS", "15" if os.environ.get("CI") else "2"))
"""For each parser; nine of them fuzz for more than a minute in CI."""

SLOWEST, LARGEST = 10.0, 600_000_000
"""Seconds of processor time for one file, and bytes by which the process may grow."""

Mutate = Callable[[random.Random], dict[Path, bytes]]


def assert_robust(mutate: Mutate, read: Callable[[], object], seed: int = 0) -> int:
    """Run `read` on files changed by `mutate`; return how often it gave a result."""
    chosen = random.Random(seed)
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = accepted = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        files = mutate(chosen)
        for path, data in files.items():
            path.write_bytes(data)
        faulthandler.dump_traceback_later(10 * SLOWEST, exit=True)
        start = time.process_time()
        try:
            read()
            accepted += 1
        except SecateurError as error:
            message = str(error)
            assert "\n" not in message
            assert len(message) < 1500
            assert any(path.name in message for path in files), message
        except BaseException:
            print(f"file number {done} of seed {seed}: {[str(path) for path in files]}")
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        assert time.process_time() - start < SLOWEST, f"file number {done} of seed {seed}"
        done += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    assert grown < LARGEST
    print(f"{done} files, {accepted} accepted")
    assert done > 10
    return accepted


def models(folder: Path, *names: str) -> list[tuple[bytes, ...]]:
    """Return the files of small models: golden cases where they are there, else the fixtures."""
    cases = sorted(path.parent for path in folder.glob(f"*/{names[0]}"))
    found = [tuple((case / name).read_bytes() for name in names) for case in cases]
    return [files for files in found if all(len(data) < 1 << 17 for data in files)]


def caffe_models() -> list[tuple[bytes, ...]]:
    fixture = ROOT / "fixtures" / "shapes_caffe"
    own = tuple((fixture / f"shapes.{end}").read_bytes() for end in ("prototxt", "caffemodel"))
    return [own, *models(CAFFE / "cases", "model.prototxt", "model.caffemodel")]


def darknet_models() -> list[tuple[bytes, ...]]:
    fixture = ROOT / "fixtures" / "shapes_darknet"
    own = tuple((fixture / f"shapes.{end}").read_bytes() for end in ("cfg", "weights"))
    return [own, *models(SHARED / "golden" / "darknet", "model.cfg", "model.weights")]


def pair(
    folder: Path, models: Sequence[tuple[bytes, ...]], suffixes: tuple[str, str], broken: int
) -> tuple[Mutate, Callable[[], object]]:
    """Return a mutator of one of two files of a model, and what reads the pair."""
    paths = [folder / f"model{suffix}" for suffix in suffixes]
    texts = [files[0] for files in models]

    def mutate(chosen: random.Random) -> dict[Path, bytes]:
        files = list(chosen.choice(models))
        if broken == 0:
            files[0] = mutation.text(files[0], texts, chosen)
        else:
            files[1] = mutation.binary(files[1], chosen)
        return dict(zip(paths, files, strict=True))

    def read() -> object:
        network = secateur.load(*paths)
        assert network.source is not None
        rendered = network.source.render(network)
        assert rendered == {path.suffix: path.read_bytes() for path in paths}
        return network

    return mutate, read


@pytest.mark.parametrize("broken", [0, 1], ids=["prototxt", "caffemodel"])
def test_caffe(broken: int, tmp_path: Path) -> None:
    assert assert_robust(*pair(tmp_path, caffe_models(), (".prototxt", ".caffemodel"), broken))


@pytest.mark.parametrize("broken", [0, 1], ids=["cfg", "weights"])
def test_darknet(broken: int, tmp_path: Path) -> None:
    assert assert_robust(*pair(tmp_path, darknet_models(), (".cfg", ".weights"), broken))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    cfg = "[net]\nwidth=8\nheight=8\nchannels=3\n" + 2 * "[convolutional]\nfilters=6\nsize=3\n"
    return secateur.load(*with_random_weights(tmp_path_factory.mktemp("network"), cfg))


def test_onnx(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    secateur.save(network, path)
    sound = path.read_bytes()
    assert_robust(
        lambda chosen: {path: mutation.binary(sound, chosen)}, lambda: secateur.load(path)
    )


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    prototxt, weights = tmp_path / "model.prototxt", tmp_path / "model.caffemodel.h5"
    prototxt.write_text(
        'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }\n'
        'layer { name: "y" type: "InnerProduct" bottom: "d" top: "y" '
        "inner_product_param { num_output: 4 } }"
    )
    with h5py.File(weights, "w") as file:
        file["data/y/0"], file["data/y/1"] = np.ones((4, 3), "f4"), np.ones(4, "f4")
    sound = weights.read_bytes()
    assert_robust(
        lambda chosen: {prototxt: prototxt.read_bytes(), weights: mutation.binary(sound, chosen)},
        lambda: secateur.load(prototxt, weights),
    )


def test_plan(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    plan = secateur.prune(network, rate=0.3).plan
    sound = plan.to_yaml().encode()

    def read() -> object:
        with located(file=str(path)):
            return secateur.apply_plan(network, secateur.load_plan(path))

    assert assert_robust(lambda chosen: {path: mutation.text(sound, [sound], chosen)}, read)


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
def test_npz(packed: bool, network: Network, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    buffer = io.BytesIO()
    arrays = {"data": np.ones((4, 3, 8, 8), np.float32), "label": np.zeros(4, np.int64)}
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
    sound = buffer.getvalue()

    def read() -> object:
        return list(open_dataset(path, network))

    assert_robust(lambda chosen: {path: mutation.binary(sound, chosen)}, read)


def test_the_fuzzer_notices(tmp_path: Path) -> None:
    """It fails for an error that is none of ours."""
    path = tmp_path / "file"

    def read() -> object:
        return struct.unpack("<i", path.read_bytes())

    with pytest.raises(struct.error):
        assert_robust(lambda chosen: {path: chosen.randbytes(5)}, read)
