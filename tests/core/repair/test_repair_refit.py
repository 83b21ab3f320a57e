"""The refit: what a layer is fitted to, and that it makes up for what came before it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.ir.rebuild import rebuild
from secateur.core.repair.refit import refit
from secateur.core.repair.targets import Target, follow
from secateur.core.statistics.operators import find_operators
from support.normed import Normed, inner, removal, state_of


def residual_network(seed=16):
    """Return a network with normalisation, a residual sum and activations."""
    g = Normed(seed=seed)
    a = g.normed("a", g.data, 10, kernel=1)
    c = g.conv("c", g.normed("b", a, 12), 10, kernel=1)
    total = g.op("relu", "LeakyRelu", g.op("sum", "Add", c, a), alpha=0.1)
    return g.network(y=g.gemm("fc", g.op("flat", "Flatten", g.normed("e", total, 6)), 4))


def test_a_refit_starts_from_the_means_of_the_original():
    """OBS moves means of normalisations; a refit must not move them by the same once more."""
    net = residual_network()
    groups = find_groups(net)
    removed = removal(groups, a=(0, 3), b=(1, 2, 5))
    data = SyntheticDataset(net, samples=100)
    state = state_of(net, groups, removed, data)
    dense = state.dense()
    means = [node.inputs[3].name for node in dense.graph if node.op_type == "BatchNormalization"]
    shifted = rebuild(dense, tensors={name: dense.array(name) + 5 for name in means[1:]})
    errors = [fidelity(net, refit(state, one), data).error for one in (dense, shifted)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


def test_paths_are_what_the_graph_computes():
    net = residual_network()
    data = SyntheticDataset(net, samples=4)
    by_layer = {operator.key.split("/")[0]: operator for operator in find_operators(net)}
    names = {info.name: info.tops[0] for info in net.layers}
    ends = {"a": None, "b": names["b"], "c": names["relu"], "e": names["e"]}
    for layer, end in ends.items():
        operator = by_layer[layer]
        y = inner(net, operator.y, data)
        path = follow(net, operator, y.shape[1])
        z = y * path.scale.reshape(-1, 1, 1) + path.offset.reshape(-1, 1, 1)
        if path.other is not None:
            z = z + inner(net, path.other, data)
        assert (path.other is not None) == (layer == "c")
        assert path.slope == (pytest.approx(0.1) if layer == "c" else 0.0)
        found = np.where(z > 0, z, path.slope * z)
        want = inner(net, end or names["a"], data)
        assert np.allclose(found, want, atol=1e-3 * np.abs(want).max())


def test_each_round_of_targets_lowers_the_error_that_counts():
    """Above the kink the distance itself, below it what ReLU lets through."""
    random = np.random.default_rng(2)
    wanted = random.normal(size=(1, 500, 3))
    x = wanted @ random.normal(size=(3, 2)) + random.normal(size=(1, 500, 2))
    kink, sign = random.normal(size=(1, 1, 3)) / 4, np.array([[[1.0, -1.0, 1.0]]])
    target = Target(wanted, kink, sign, 0.0)

    def counted(p):
        active = (wanted - kink) * sign > 0
        passed = np.maximum((p - kink) * sign, 0.0)
        return float(np.square(np.where(active, p - wanted, passed)).sum())

    predicted, errors = x @ np.linalg.lstsq(x[0], wanted[0], rcond=None)[0], []
    for _ in range(6):
        errors.append(counted(predicted))
        aim = target.around(predicted)[0]
        predicted = x @ np.linalg.lstsq(x[0], aim, rcond=None)[0]
    assert all(after < before for before, after in pairwise(errors))
    assert errors[-1] < 0.99 * errors[0]


def test_without_an_activation_the_aim_is_the_value_itself():
    wanted = np.random.default_rng(3).normal(size=(1, 20, 3))
    target = Target(wanted, np.zeros((1, 1, 3)), np.ones((1, 1, 3)), 1.0)
    assert target.around(wanted + 1) is wanted
    leaky = Target(wanted, np.zeros((1, 1, 3)), np.ones((1, 1, 3)), 0.1)
    assert np.allclose(leaky.around(wanted), wanted)


def test_a_refit_makes_up_for_the_other_branch_of_a_sum(monkeypatch):
    g = Normed(seed=17)
    x = g.normed("a", g.data, 12)
    for block in ("one", "two", "three"):
        branch = g.conv(f"{block}-end", g.normed(f"{block}-start", x, 16), 12, kernel=1)
        x = g.op(f"{block}-relu", "Relu", g.op(f"{block}-sum", "Add", branch, x))
    pooled = g.op("pool", "GlobalAveragePool", x)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", pooled), 4))
    groups = find_groups(net)
    removed = removal(groups, **{"one-start": range(11)})
    data, other = SyntheticDataset(net, samples=200), SyntheticDataset(net, samples=50, seed=4)
    state = state_of(net, groups, removed, data)
    with_sum = fidelity(net, refit(state, state.dense()), other).error
    monkeypatch.setattr("secateur.core.repair.targets._summand", lambda node, value: None)
    without = fidelity(net, refit(state, state.dense()), other).error
    assert with_sum < 0.98 * without


@pytest.mark.parametrize(("low", "slope"), [(0, 0.0), (1, 1.0)])
def test_the_lower_end_of_relu6_is_followed(low, slope):
    g = Normed(seed=19)
    ends = [g.builder.constant(np.array(number), np.float32) for number in (low, 6)]
    clipped = g.op("clip", "Clip", g.conv("a", g.data, 5), *ends)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", clipped), 3))
    assert follow(net, find_operators(net)[0], 5).slope == slope


def test_a_constant_that_no_file_stores_is_no_shift():
    g = Normed(seed=20)
    b = g.builder
    shifted = b.op("Conv", g.data, g.parameter(5, 3, 1, 1), b.constant(np.zeros(5), np.float32))
    vectors = [b.constant(np.ones(5), np.float32) for _ in range(4)]
    normed = b.op("BatchNormalization", b.op("Conv", shifted, g.parameter(5, 5, 1, 1)), *vectors)
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", normed), 3))
    assert [operator.shift is None for operator in find_operators(net)] == [True, True, False]
