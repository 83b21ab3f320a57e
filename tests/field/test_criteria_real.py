"""Criteria by gradients and by leaving units out, on real networks and few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from support.mnist import digits

pytest.importorskip("torch")


@pytest.fixture
def lenet(shared: Path, tmp_path: Path) -> ScoreContext:
    images, labels = digits(shared, "train10k", 100)
    x = (images[:, None] / 256).astype(np.float32)
    np.savez(tmp_path / "digits.npz", x=x, y=labels.astype(np.int64))
    folder = shared / "models/lenet_mnist"
    network = secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    data = secateur.open_dataset(tmp_path / "digits.npz", network)
    return ScoreContext(network=network, groups=find_groups(network), data=data)


def ranks(scores: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(scores)).astype(np.float64)


def test_gradients_rank_the_channels_of_lenet_nearly_as_the_oracle_does(lenet):
    """Measured with these images: 0.91 to 0.93; L1 has 0.2."""
    units = [unit for group in lenet.groups.groups for unit in group.removable()]
    assert len(units) == 570
    oracle = ranks(CRITERIA["oracle"].score(lenet)[units])
    for name, least in (("taylor", 0.85), ("taylor-sample", 0.85), ("sensitivity", 0.85)):
        own = np.corrcoef(ranks(CRITERIA[name].score(lenet)[units]), oracle)[0, 1]
        assert own > least, (name, own)


def test_residual_stages_of_resnet_have_one_gate_for_each_channel(shared, tmp_path):
    """A channel that 4 layers make: the gradient of its gate, by a step in all four of them."""
    folder = shared / "models/resnet20_cifar10"
    network = secateur.load(
        folder / "res20_deploy.prototxt", folder / "cifar10_res20_iter_64000.caffemodel"
    )
    (shape,) = network.inputs.values()
    random = np.random.default_rng(1)
    x = random.normal(size=(8, *shape[1:])).astype(np.float32) * 40
    np.savez(tmp_path / "x.npz", x=x, y=random.integers(0, 10, 8))
    data = secateur.open_dataset(tmp_path / "x.npz", network)
    groups = find_groups(network)
    found = CRITERIA["taylor"].score(ScoreContext(network=network, groups=groups, data=data))
    stages = [group for group in groups.groups if len(group.layers) > 1]
    assert len(stages) >= 3
    same = CRITERIA["bn-taylor"].score(ScoreContext(network=network, groups=groups, data=data))
    for group in stages:
        own = found[list(group.units)]
        assert (own > 0).mean() > 0.9
        np.testing.assert_allclose(same[list(group.units)], own, rtol=1e-3, atol=1e-5 * own.max())
