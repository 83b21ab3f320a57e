"""Every real model: read, pruned at three rates, written, and computed by another engine."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import SHARED

import secateur
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.ir.rebuild import node_key, rebuild
from secateur.core.plan.plan import removed_units
from secateur.core.plan.state import PruningState
from secateur.core.progress import silent
from secateur.core.repair import REPAIRS
from support.caffe import models as caffe_models
from support.libdarknet import predict

RATES = (0.1, 0.3, 0.5)
LARGE = {"enet_deploy_final.prototxt"}
"""Networks that take minutes for each rate: 1024×512 pixels."""
CAFFE = [pair for pair in caffe_models() if "train" not in pair[0].name]
DARKNET = [
    (cfg, cfg.with_suffix(".weights")) for cfg in sorted((SHARED / "models").glob("*/*.cfg"))
]
NOT_IN_OPENCV = {
    "yoloface-500k-v2.prototxt",  # its Upsample layer
    "enet_deploy_final.prototxt",  # a message of a fork that OpenCV's parser refuses
}
ROUNDED_POSITIONS = {"enet_deploy_cv2_360x480.prototxt": 0.01}
"""Networks that unpool at positions of maxima, which rounding can move: the share of outputs that
may differ."""


def identity(pair: tuple[Path, Path]) -> str:
    return pair[0].stem


def inputs(network: secateur.Network) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.random((1, *shape[1:]), dtype=np.float32)
        for name, shape in network.inputs.items()
    }


def opencv(files: list[Path], feeds: dict[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
    caffe = files[0].suffix == ".prototxt"
    net = (cv2.dnn.readNetFromCaffe if caffe else cv2.dnn.readNetFromDarknet)(*map(str, files))
    for name, array in feeds.items():
        net.setInput(array, name if caffe else "")
    return list(net.forward(names))


def assert_agree(
    got: np.ndarray, want: np.ndarray, tolerance: float, differing: float = 0.0
) -> None:
    assert got.size == want.size
    wrong = np.abs(got.ravel() - want.ravel()) > tolerance * np.abs(want).max()
    assert wrong.mean() <= differing


def as_opencv_normalizes(network: secateur.Network) -> secateur.Network:
    """Return the network with the epsilon that OpenCV gives every Darknet network, 1e-6.

    AlexeyAB's adds 1e-5, and these networks have variances that show it.
    """
    return rebuild(
        network,
        attributes={
            node_key(node): {"epsilon": 1e-6}
            for node in network.graph
            if node.op_type == "BatchNormalization" and node.attributes["epsilon"].as_float() > 0
        },
    )


def assert_opencv_agrees(network: secateur.Network, files: list[Path], tolerance: float) -> None:
    """Compare what OpenCV reads from files with the network; detection heads before decoding."""
    feeds = inputs(network)
    if files[0].suffix == ".prototxt":
        ours = secateur.Session(network).run(feeds)
        known = cv2.dnn.readNetFromCaffe(*map(str, files)).getLayerNames()
        names = [name for name in ours if name in known]
        differing = ROUNDED_POSITIONS.get(files[0].name, 0.0)
        for name, value in zip(names, opencv(files, feeds, names), strict=True):
            assert_agree(value, ours[name], tolerance, differing)
        return
    heads = [i for i, info in enumerate(network.layers) if info.type in ("yolo", "region")]
    last = [i - 1 for i in heads] or [
        max(i for i, info in enumerate(network.layers) if info.type == "convolutional")
    ]
    shown = secateur.expose(as_opencv_normalizes(network), [str(i) for i in last])
    ours = secateur.Session(shown).run(feeds)
    wanted = [f"conv_{i}" for i in last]
    for i, value in zip(last, opencv(files, feeds, wanted), strict=True):
        assert_agree(value, ours[f"layer:{i}"], tolerance)


@pytest.mark.parametrize("pair", [*CAFFE, *DARKNET], ids=identity)
def test_a_real_model_and_its_pruned_ones_are_what_opencv_reads(pair, tmp_path):
    network = secateur.load(*pair)
    before = secateur.describe(network).cost.operations
    tolerance = 1e-4
    if pair[0].name not in NOT_IN_OPENCV:
        assert_opencv_agrees(network, list(pair), tolerance)
    for rate in RATES[1:2] if pair[0].name in LARGE else RATES:
        pruned = secateur.prune(network, rate=rate)
        saved = secateur.save(pruned, tmp_path / str(rate))
        assert saved.difference <= 1e-4
        assert pruned.plan.provenance["proof"]["masked_equals_dense"] <= 1e-4
        files = [tmp_path / str(rate) / path.name for path in pair]
        after = secateur.describe(secateur.load(*files)).cost.operations
        assert rate - 0.01 <= 1 - after / before <= rate
        if pair[0].name not in NOT_IN_OPENCV:
            assert_opencv_agrees(pruned.network, files, tolerance)


NORMALIZED = [
    ("resnet20_cifar10", "res20_deploy.prototxt", "cifar10_res20_iter_64000.caffemodel"),
    ("yolo_fastest_1.1_coco", "yolo-fastest-1.1.cfg", "yolo-fastest-1.1.weights"),
]


@pytest.mark.parametrize("model", NORMALIZED, ids=lambda model: model[0])
@pytest.mark.parametrize("name", ["recalibrate", "bias", "refit"])
def test_a_repaired_model_is_what_opencv_reads(shared, model, name, tmp_path):
    folder, *names = model
    files = [shared / "models" / folder / file for file in names]
    network = secateur.load(*files)
    data = SyntheticDataset(network, samples=8, batch=4)
    groups = find_groups(network)
    any_number = secateur.Limits(round_to=1)
    plan = secateur.prune(network, rate=0.2, repair="none", limits=any_number).plan
    state = PruningState.start(network, groups, data).after(removed_units(plan, groups))
    dense = state.dense()
    repaired = REPAIRS[name].apply(state, dense, silent)
    changed = sum(
        not np.array_equal(repaired.array(key), dense.array(key))
        for key in dense.graph.initializers
    )
    assert changed > 20
    assert secateur.save(repaired, tmp_path).difference <= 1e-4
    assert_opencv_agrees(repaired, [tmp_path / file for file in names], 1e-3)


@pytest.mark.parametrize("rate", RATES)
def test_a_pruned_detector_is_what_darknet_reads(shared, rate, tmp_path):
    (cfg,) = (shared / "models/yolo_fastest_1.1_coco").glob("*.cfg")
    network = secateur.load(cfg, cfg.with_suffix(".weights"), flavour="pjreddie")
    pruned = secateur.prune(network, rate=rate)
    secateur.save(pruned, tmp_path)
    (feed,) = inputs(pruned.network).values()
    ours = secateur.Session(pruned.network).run({"data": feed})["layer_130"]
    text = (tmp_path / cfg.name).read_bytes()
    (tmp_path / "one.cfg").write_bytes(text.replace(b"batch=32", b"batch=1", 1))
    found = predict(tmp_path / "one.cfg", tmp_path / f"{cfg.stem}.weights", feed[0], ours.size)
    assert_agree(found, ours, 1e-4)


@pytest.mark.parametrize(("round_to", "at_81"), [(1, 0.25), ("auto", 0.3)])
def test_mnist_accuracy_survives_obs(shared, tmp_path, round_to, at_81):
    """Without labels and without training, at most the loss that is promised for each rate.

    Multiples by width came to 0.26 points at 81 %, other orders of the same channels to 0.2.
    """
    import gzip

    def unpacked(name: str, offset: int) -> np.ndarray:
        with gzip.open(shared / "data/mnist" / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    images = unpacked("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    x, y = (images / 256).astype(np.float32), unpacked("t10k-labels-idx1-ubyte.gz", 8)
    np.savez(tmp_path / "calibration.npz", x=x[:1000])
    np.savez(tmp_path / "test.npz", x=x[1000:], y=y[1000:].astype(np.int64))
    folder = shared / "models/lenet_mnist"
    network = secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    calibration = secateur.open_dataset(tmp_path / "calibration.npz", network)
    test = secateur.open_dataset(tmp_path / "test.npz", network)
    baseline = 100 * secateur.evaluate(network, test).value
    assert baseline == pytest.approx(99.07, abs=0.05)
    lost = {}
    for rate in (0.48, 0.61, 0.72, 0.81, 0.88):
        limits = secateur.Limits(round_to=round_to)
        pruned = secateur.prune(network, rate=rate, data=calibration, limits=limits)
        lost[rate] = baseline - 100 * secateur.evaluate(pruned.network, test).value
    allowed = {0.48: 0.1, 0.61: 0.1, 0.72: 0.15, 0.81: at_81, 0.88: 0.4}
    assert all(lost[rate] <= allowed[rate] for rate in allowed), lost
