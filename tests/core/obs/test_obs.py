"""OBS and refit: the algebra on cases with known answers, and what they must never do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secateur.core.cost.network_cost import Costs
from secateur.core.coupling import find_groups
from secateur.core.data import NpzDataset, SyntheticDataset
from secateur.core.data.calibration import Calibration
from secateur.core.engine.session import Session
from secateur.core.errors import PlanError
from secateur.core.evaluation.fidelity import fidelity
from secateur.core.ir.footprint import peak_bytes
from secateur.core.ir.partial import between, suffix
from secateur.core.ir.rebuild import rebuild
from secateur.core.obs.consumers import readers
from secateur.core.obs.output_sensitivity import DISTURBANCE_SIZE, measure_output_sensitivities
from secateur.core.obs.removal_error import find_removal_errors
from secateur.core.obs.select import Goal, select_units
from secateur.core.plan.state import PruningState
from secateur.core.pruning.complete import complete_plan
from secateur.core.pruning.prune import prune
from secateur.core.repair.activation_cache import ActivationCache
from secateur.core.repair.refit import refit
from secateur.core.statistics.moments import gather_moments
from secateur.core.statistics.operators import find_operators
from support.graphs import Graph, weights


def network(seed: int = 0):
    g = Graph(seed=seed)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 12))
    d = g.conv("d", a, 12, group=12)
    b = g.op("sum", "Add", a, g.conv("b", d, 12, kernel=1))
    x = g.op("pool", "MaxPool", g.op("relu2", "Relu", b), kernel_shape=[2, 2], strides=[2, 2])
    c = g.op("relu3", "Relu", g.conv("c", x, 8, group=2))
    fc = g.op("relu4", "Relu", g.gemm("fc", g.op("flat", "Flatten", c), 10))
    return g.network(y=g.gemm("out", fc, 4))


def removal(net, rate, data):
    """Return what one pass of OBS removes."""
    operators = find_operators(net)
    moments = gather_moments(net, operators, data)
    state = PruningState.start(net, find_groups(net), data)
    read = readers(state, operators)
    errors = find_removal_errors(state, read, moments, DISTURBANCE_SIZE**2)
    sensitivities = measure_output_sensitivities(net, read, data, errors)
    goal = Goal(rate=rate, costs=Costs(net, state.groups))
    return select_units(state, operators, moments, sensitivities, goal)


def steps_of(state):
    return [step.units for step in state.history]


def test_operators_are_what_the_graph_computes():
    net = network()
    data = SyntheticDataset(net, samples=3)
    (batch,) = list(data)
    names = [name for o in find_operators(net) for name in (o.x, o.y)]
    values = Session(
        between(net, net.inputs, [n for n in dict.fromkeys(names) if n != "data"])
    ).run(batch.inputs)
    values.update(batch.inputs)
    for operator in find_operators(net):
        stored = net.graph.initializers[operator.weight].const_value.numpy()
        matrix = operator.matrix(stored)
        assert np.array_equal(operator.stored(matrix, stored), stored)
        x = operator.inputs(values[operator.x], None)
        y = operator.outputs(values[operator.y], None)
        shift = net.graph.initializers[operator.shift.parameter].const_value.numpy()
        made = x @ matrix.transpose(0, 2, 1) + shift.reshape(len(matrix), 1, -1)
        assert np.allclose(made, y, atol=1e-3)


def test_a_channel_that_repeats_another_costs_nothing_and_is_made_up_for():
    g = Graph(seed=1)
    a = g.conv("a", g.data, 6)
    net = g.network(y=g.gemm("out", g.op("flat", "Flatten", g.op("relu", "Relu", a)), 4))
    weight = net.graph.initializers["a/weight"].const_value.numpy().copy()
    bias = net.graph.initializers["a/weight_1"].const_value.numpy().copy()
    weight[4], bias[4] = 2 * weight[1], 2 * bias[1]
    net = rebuild(net, tensors={"a/weight": weight, "a/weight_1": bias})
    data = SyntheticDataset(net, samples=3000)
    done = removal(net, 0.17, data)
    (step,) = steps_of(done)
    assert done.groups.groups[0].units.index(step[0]) in (1, 4)
    assert fidelity(net, done.dense(), data).error < 0.02


def test_a_constant_channel_moves_into_the_bias():
    g = Graph(seed=2)
    net = g.network(y=g.conv("out", g.conv("a", g.data, 5, kernel=1), 4, kernel=1))
    weight = net.graph.initializers["a/weight"].const_value.numpy().copy()
    weight[3] = 0.0  # only its bias is left
    net = rebuild(net, tensors={"a/weight": weight})
    data = SyntheticDataset(net, samples=16)
    done = removal(net, 0.21, data)
    assert steps_of(done)[0] == (done.groups.groups[0].units[3],)
    assert fidelity(net, done.dense(), data).error < 1e-2


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.7])
def test_compensated_masked_and_dense_agree(rate):
    net = network()
    data = SyntheticDataset(net, samples=64)
    done = removal(net, rate, data)
    assert done.compensated
    (batch,) = list(SyntheticDataset(net, samples=4))
    one, two = (Session(n).run(batch.inputs) for n in (done.masked(), done.dense()))
    assert np.allclose(one["y"], two["y"], atol=1e-3 * np.abs(one["y"]).max())
    costs = Costs(net, done.groups)
    assert 1 - costs.total(done.removed) / costs.total() <= rate
    steps = steps_of(done)
    assert sum(len(step) for step in steps) == done.removed.sum()
    assert (done.groups.mask(unit for step in steps for unit in step) == done.removed).all()


def test_obs_and_refit_beat_the_l1_norm():
    net = network()
    data, other = SyntheticDataset(net, samples=256), SyntheticDataset(net, samples=64, seed=9)
    plain = fidelity(net, prune(net, rate=0.4, criterion="l1").network, other).error
    cut = fidelity(net, prune(net, rate=0.4, data=data, repair=False).network, other).error
    whole = fidelity(net, prune(net, rate=0.4, data=data).network, other).error
    assert cut < plain
    assert whole < plain


def test_refit_of_an_unpruned_network_changes_nothing():
    net = network()
    data = SyntheticDataset(net, samples=8)
    same = refit(PruningState.start(net, find_groups(net), data), net)
    for name, value in net.graph.initializers.items():
        assert same.graph.initializers[name].const_value is value.const_value


def test_labels_are_not_looked_at(tmp_path):
    net = network()
    x = np.random.default_rng(0).random((32, 3, 8, 8), dtype=np.float32)
    plans = []
    for number, labels in enumerate([np.zeros(32, np.int64), np.arange(32) % 4]):
        path = tmp_path / f"{number}.npz"
        np.savez(path, x=x, y=labels)
        data = NpzDataset(path, net)
        assert not Calibration(data, 4).labelled
        plans.append(prune(net, rate=0.4, data=data).plan.groups)
    assert plans[0] == plans[1]


def test_the_same_data_gives_the_same_weights():
    net = network()
    data = SyntheticDataset(net, samples=32)
    first, second = (prune(net, rate=0.5, data=data).network for _ in range(2))
    assert weights(first) == weights(second)
    for name, value in first.graph.initializers.items():
        other = second.graph.initializers[name].const_value
        assert np.array_equal(value.const_value.numpy(), other.numpy())


def test_obs_without_data_is_refused():
    with pytest.raises(PlanError, match="obs needs data"):
        prune(network(), rate=0.3, criterion="obs")


def test_the_former_name_still_means_obs():
    net = network()
    data = SyntheticDataset(net, samples=32)
    plans = [prune(net, rate=0.4, criterion=name, data=data).plan for name in ("surgery", "obs")]
    assert plans[0] == plans[1]
    assert plans[0].provenance["criterion"] == "obs"
    with pytest.raises(PlanError, match="obs needs data"):
        prune(net, rate=0.3, criterion="surgery")
    (entry, *others) = plans[0].groups
    former = replace(
        plans[0],
        groups=(replace(entry, removed=(), keep=entry.kept), *others),
        provenance={"criterion": "surgery"},
    )
    completed, state = complete_plan(net, former, find_groups(net), data=data)
    assert completed.provenance["criterion"] == "obs"
    assert state.compensated


def test_calibration_streams_no_more_than_it_says():
    data = SyntheticDataset(network(), samples=20, batch=8)
    assert [batch.size for batch in Calibration(data, 11)] == [8, 3]
    assert [batch.size for batch in Calibration(data, 100)] == [8, 8, 4]


def test_a_walk_computes_what_the_network_computes():
    net = network()
    batches = [batch.inputs for batch in SyntheticDataset(net, samples=6, batch=4)]
    walk = ActivationCache(net, batches)
    for operator in find_operators(net):
        (first, *_) = walk.advance(net, operator.y)
        expected = Session(between(net, net.inputs, [operator.y])).run(batches[0])
        assert np.allclose(first, expected[operator.y], rtol=1e-3)
    assert peak_bytes(net) >= 4 * 3 * 8 * 8


def test_what_follows_a_value_needs_that_value_only_where_nothing_bypasses_it():
    net = network()
    operators = {operator.key.split("/")[0]: operator for operator in find_operators(net)}
    assert set(suffix(net, operators["c"].y).inputs) == {operators["c"].y}
    bypassed = set(suffix(net, operators["d"].y).inputs)
    assert operators["d"].y in bypassed
    assert len(bypassed) == 2  # and what the sum adds to it
