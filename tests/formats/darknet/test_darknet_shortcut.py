"""Weighted shortcuts are pruned: their factors leave with the channels that they scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.ir.network import tensors_by_blob
from support.darknet import difference, load, noise, run, with_random_weights
from support.graphs import shown

CFG = """[net]
width=12
height=12
channels=3
[convolutional]
filters=12
size=3
pad=1
activation=logistic
[convolutional]
filters=12
size=3
pad=1
activation=leaky
[convolutional]
filters=9
size=3
pad=1
activation=mish
[convolutional]
filters=12
size=1
activation=leaky
[shortcut]
from=-3,-4,-2
weights_type={kind}
weights_normalization={normalization}
activation=linear
[convolutional]
filters=5
size=1
activation=linear
"""


def shares(weights: np.ndarray, normalization: str) -> np.ndarray:
    """What the inputs are multiplied by (blas.c shortcut_multilayer_cpu)."""
    if normalization == "relu":
        positive = np.maximum(weights, 0)
    else:
        positive = np.exp(weights - weights.max(axis=0))
    return (positive / (positive.sum(axis=0) + 1e-4)).reshape(len(weights), -1, 1, 1)


@pytest.mark.parametrize("normalization", ["relu", "softmax"])
@pytest.mark.parametrize("kind", ["per_feature", "per_channel"])
def test_weighted_shortcut(kind: str, normalization: str, tmp_path: Path) -> None:
    cfg = CFG.format(kind=kind, normalization=normalization)
    network = load(*with_random_weights(tmp_path, cfg))
    assert shown(secateur.find_groups(network)) == {
        "0": (("0", "1", "2", "3"), 12, [[12]]),
        "5": "feeds output 'layer_5'",
    }
    pruned = secateur.prune(network, rate=0.5, criterion="l1")
    saved = secateur.save(pruned, tmp_path / "out")
    again = load(*saved.paths)
    removed = next(group.removed for group in pruned.plan.groups if group.name == "0")
    kept = [channel for channel in range(12) if channel not in removed]
    assert 3 < len(kept) < 12
    stored = {
        (ref.layer, ref.name): tensor.numpy()
        for ref, tensor in tensors_by_blob(again.model).items()
    }
    original = {
        (ref.layer, ref.name): tensor.numpy()
        for ref, tensor in tensors_by_blob(network.model).items()
    }
    weights = stored[4, "weight"]
    each = len(kept) if kind == "per_channel" else 1
    assert weights.size == 4 * each
    expected = original[4, "weight"].reshape(4, -1)
    expected = expected[:, kept] if kind == "per_channel" else expected
    assert np.array_equal(weights.reshape(4, -1), expected)
    inner = run(secateur.expose(again, ["0", "1", "2", "3", "4"]), noise(again))
    factors = shares(weights.reshape(4, -1), normalization)
    total = inner["layer:3"] * factors[0]
    for factor, layer in zip(factors[1:], (1, 0, 2), strict=True):
        other = inner[f"layer:{layer}"]
        count = other.shape[1]
        total[:, :count] += other * factor[: count if kind == "per_channel" else 1]
    assert difference(inner["layer:4"], total) < 1e-6
