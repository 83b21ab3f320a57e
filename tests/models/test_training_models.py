"""Networks as PyTorch modules: every golden case and every real model, exact to onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

from secateur.core.engine.session import Session
from secateur.core.ir.network import blob_refs
from secateur.core.ir.rebuild import expose
from secateur.formats.caffe.reader import load as load_caffe
from secateur.formats.darknet.reader import load as load_darknet
from support.caffe import models
from support.training import need_torch

TOLERANCE = 1e-5
CAFFE, DARKNET = SHARED / "golden/caffe", SHARED / "golden/darknet"
REFUSED = {
    "alias_reshape_inplace", "conv_1x1_stride_y", "conv_xnor", "crnn", "gru_alexeyab",
    "gru_pjreddie", "lstm_alexeyab", "lstm_pjreddie", "partial_boundary", "rnn_alexeyab",
    "rnn_pjreddie",
}  # fmt: skip
"""Cases that the readers refuse; their tests say why."""
SIZELESS = {
    "lenet_train_test", "cifar10_quick_train_test", "cifar10_full_train_test",
    "res20_cifar_train_test",
}  # fmt: skip
"""Files that do not state the size of their images."""
LARGE = {"enet_deploy_final", "enet_deploy_cv2_360x480"}


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def names(folder: Path, key: str) -> list[str]:
    index = folder / "index.json"
    cases = json.loads(index.read_text())["cases"] if index.is_file() else []
    return [case[key] for case in cases if case[key] not in REFUSED]


def check_same(network, feeds, torch):
    """Compare all outputs; return the module."""
    from secateur.core.training.module import TrainingModule

    wanted = Session(network, threads=1).run({name: feeds[name] for name in network.inputs})
    module = TrainingModule(network).eval()
    with torch.no_grad():
        got = module({name: torch.from_numpy(array) for name, array in feeds.items()})
    for name, want in wanted.items():
        have = got[name].detach().numpy()
        assert have.shape == want.shape, name
        finite = np.isfinite(want)
        assert (np.isfinite(have) == finite).all(), name
        off = np.abs(have[finite] - want[finite]).max(initial=0)
        assert off <= TOLERANCE * np.abs(want[finite]).max(initial=0), name
    assert module.network() is network
    return module


@pytest.mark.parametrize("name", names(CAFFE, "case"))
def test_golden_net_of_caffe(name, torch):
    folder = CAFFE / "cases" / name
    index = json.loads((CAFFE / "index.json").read_text())["cases"]
    case = next(case for case in index if case["case"] == name)
    network = load_caffe(
        folder / "model.prototxt", folder / "model.caffemodel",
        stages=case["stages"], level=case["level"],
    )  # fmt: skip
    io = np.load(folder / "io.npz")
    feeds = {key[3:]: np.array(io[key]) for key in io.files if key.startswith("in:")}
    check_same(expose(network), feeds, torch)


@pytest.mark.parametrize("name", names(DARKNET, "name"))
def test_golden_net_of_darknet(name, torch):
    folder = DARKNET / name
    network = load_darknet(folder / "model.cfg", folder / "model.weights")
    shape = [size for size in network.inputs["data"][1:] if isinstance(size, int)]
    x = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    check_same(expose(network), {"data": x}, torch)


def noise(network) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.normal(size=[d if isinstance(d, int) else 1 for d in shape]).astype("f4")
        for name, shape in network.inputs.items()
    }


REAL = [
    *(pair for pair in models() if pair[0].stem not in SIZELESS | LARGE),
    *((cfg, cfg.with_suffix(".weights")) for cfg in sorted(SHARED.glob("models/*/*.cfg"))),
]


@pytest.mark.parametrize(("text", "weights"), REAL, ids=lambda path: path.stem)
def test_real_model(text, weights, torch):
    """The same outputs, and a gradient for every weight that acts on them."""
    load = load_darknet if text.suffix == ".cfg" else load_caffe
    network = load(text, weights)
    feeds = noise(network)
    module = check_same(network, feeds, torch)
    outputs = module({name: torch.from_numpy(array) for name, array in feeds.items()})
    sum(value.square().sum() for value in outputs.values() if value.requires_grad).backward()
    read = {str(v.name) for node in network.graph for v in node.inputs if v is not None}
    lacking = [
        name
        for name, value in network.graph.initializers.items()
        if blob_refs(value) and name in read and name in dict(module.named_parameters())
        and module.tensor(name).grad is None
    ]  # fmt: skip
    assert lacking == []
