"""What a verification makes of functions that saturate, of large inputs and of claimed batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.errors import VerificationError
from secateur.core.ir.rebuild import rebuild
from secateur.core.verify.compare import compare
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed


@pytest.fixture
def saturating(field: Path):
    """The network, its scores enlarged as training does it, and what is left without channels."""
    folder = field / "sigmoid_saturates"
    network = secateur.load(folder / "net.prototxt", folder / "net.caffemodel")
    name = "score/weight"
    network = rebuild(network, tensors={name: network.array(name) * np.float32(300)})
    groups = find_groups(network)
    removed = groups.mask(())
    random = np.random.default_rng(1)
    for group in groups.groups:
        if group.prunable:
            units = list(group.units)
            removed[random.permutation(units)[: len(units) // 3]] = True
    return (
        mask(network, groups, removed),
        shrink(network, groups, removed),
        narrowed(groups, removed),
    )


def test_a_saturated_sigmoid_is_no_false_alarm(saturating):
    full, dense, narrow = saturating
    data = SyntheticDataset(full, samples=4)
    assert not compare(full, dense, data).within(1e-4)  # what rounding becomes at the end
    found = verify_equal("masked = dense", full, dense, data, narrow=narrow)
    assert found.within(1e-4)
    assert "score/Conv" in [output.a for output in found.outputs]


@pytest.mark.parametrize("layer", ["c0", "c11", "score"])
def test_a_fault_before_a_saturated_sigmoid_is_found(saturating, layer):
    full, dense, narrow = saturating
    data = SyntheticDataset(full, samples=4)
    weight = dense.array(f"{layer}/weight").copy()
    weight[:, [0, 1]] = weight[:, [1, 0]]
    with pytest.raises(VerificationError):
        verify_equal("x", full, rebuild(dense, tensors={f"{layer}/weight": weight}), data,
                     narrow=narrow)  # fmt: skip


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_the_field_network_is_pruned(field: Path, rate: float):
    folder = field / "sigmoid_saturates"
    network = secateur.load(folder / "net.prototxt", folder / "net.caffemodel")
    assert secateur.prune(network, rate=rate).verification.difference < 1e-4
