"""Layers with very many columns: no covariance, but the same fit, and OBS still chooses."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import secateur
from secateur.core.cost.network_cost import Costs
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.engine.session import Session
from secateur.core.obs.select import Goal, select_units
from secateur.core.plan.limits import Limits
from secateur.core.plan.state import PruningState
from secateur.core.repair.refit import refit
from secateur.core.statistics import moments as moments_module
from secateur.core.statistics.moments import gather_moments
from secateur.core.statistics.operators import find_operators
from support.graphs import Graph
from support.normed import removal, state_of


def network():
    g = Graph(seed=3)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 6))
    fc = g.op("relu2", "Relu", g.gemm("fc", g.op("flat", "Flatten", a), 10))
    return g.network(y=g.gemm("out", fc, 4))


def test_a_wide_layer_is_fitted_as_by_its_covariance(monkeypatch):
    net = network()
    groups = find_groups(net)
    removed = removal(groups, a=(1, 4), fc=(0, 3, 7))
    data = SyntheticDataset(net, samples=300, batch=32)
    state = state_of(net, groups, removed, data)
    dense = state.dense()
    narrow = refit(state, dense)
    monkeypatch.setattr(moments_module, "WIDEST_PRODUCT", 30)
    wide = refit(state, dense)
    (operator,) = [o for o in find_operators(net) if o.key.startswith("fc")]
    for parameter in (operator.weight, operator.shift.parameter):
        expected = narrow.array(parameter)
        assert not np.allclose(expected, dense.array(parameter), rtol=1e-2)
        scale = np.abs(expected).max()
        assert np.allclose(wide.array(parameter), expected, atol=2e-3 * scale)


def test_the_loss_of_a_wide_layer_is_what_its_output_loses(monkeypatch):
    net = network()
    groups = find_groups(net)
    (fc,) = [o for o in find_operators(net) if o.key.startswith("fc")]
    data = SyntheticDataset(net, samples=200, batch=50)
    monkeypatch.setattr(moments_module, "WIDEST_PRODUCT", 30)
    moments = gather_moments(net, [fc], data)
    assert isinstance(moments[fc.key], moments_module.InputSample)
    goal = Goal(rate=0.1, costs=Costs(net, groups), limits=Limits(round_to=1))
    state = PruningState.start(net, groups)
    first, *_ = select_units(state, [fc], moments, {fc.key: 1.0}, goal).history
    (unit,) = first.units
    weight = net.array(fc.weight)
    matrix = fc.matrix(weight)[0]
    labels = next(use.labels for use in groups.uses if use.parameter == fc.weight)
    columns = np.flatnonzero(
        fc.matrix(np.broadcast_to(groups.units[labels[1]], weight.shape))[0, 0] == unit
    )
    x = np.concatenate([_reads(net, fc.x, batch.inputs) for batch in data])
    x = x - x.mean(axis=0)
    lost = np.square(x[:, columns] @ matrix[:, columns].T).sum(axis=1).mean()
    whole = np.square(x @ matrix.T).sum(axis=1).mean()
    assert first.loss == pytest.approx(lost / whole, rel=0.01)


def _reads(net, name, inputs):
    return Session(net, fetch=[name]).run(inputs)[name]


def test_lenet_is_pruned_with_its_fully_connected_layers_wide(monkeypatch, shared, tmp_path):
    monkeypatch.setattr(moments_module, "WIDEST_PRODUCT", 450)
    folder = shared / "models/lenet_mnist"
    net = secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    with gzip.open(shared / "data/mnist/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    np.savez(tmp_path / "digits.npz", x=pixels[:500].astype(np.float32) / 256)
    data = secateur.open_dataset(tmp_path / "digits.npz", net)
    pruned = secateur.prune(net, rate=0.5, data=data)
    assert pruned.plan.provenance["rate"]["achieved"] == pytest.approx(0.5, abs=0.01)
    assert secateur.fidelity(net, pruned.network, data).agreement > 0.99
