"""Passes of OBS: what was removed stays away, rates are met, and a second look is worth it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from conftest import ROOT

import secateur
from secateur.core.cost.network_cost import Costs, operations_by_node
from secateur.core.coupling import find_groups
from secateur.core.data import Batch, SyntheticDataset
from secateur.core.evaluation.loss import LossMeter
from secateur.core.obs import Goal, output_sensitivity, remove_to_loss, remove_to_rate, schedule
from secateur.core.obs.output_sensitivity import _rounds, measure_output_sensitivities
from secateur.core.plan.limits import Limits
from secateur.core.plan.state import PruningState
from secateur.core.statistics.operators import find_operators
from support.graphs import Graph


@pytest.fixture(scope="module")
def shapes():
    folder = ROOT / "fixtures/shapes_darknet"
    network = secateur.load(folder / "shapes.cfg", folder / "shapes.weights")
    return network, secateur.open_dataset(ROOT / "fixtures/calibration.npz", network, limit=32)


def test_what_a_pass_removes_stays_away(shapes, monkeypatch):
    network, data = shapes
    groups = find_groups(network)
    seen = []
    select_units = schedule.select_units

    def noted(state, *arguments):
        found = select_units(state, *arguments)
        seen.append((state.removed.copy(), found.removed.copy()))
        return found

    monkeypatch.setattr(schedule, "select_units", noted)
    costs = Costs(network, groups)
    goal = Goal(rate=0.5, costs=costs)
    state = remove_to_rate(PruningState.start(network, groups, data), goal)
    assert len(seen) == 4
    assert not seen[0][0].any()
    for (_, after), (before, later) in pairwise(seen):
        assert (before == after).all()
        assert (later | after == later).all()
        assert later.sum() > after.sum()
    assert 1 - costs.total(state.removed) / costs.total() == pytest.approx(0.5, abs=0.01)
    assert state.compensated
    units = [unit for step in state.history for unit in step.units]
    assert sorted(units) == np.flatnonzero(state.removed).tolist()


def test_channels_are_removed_while_the_loss_is_allowed():
    g = Graph(seed=3)
    x = g.op("relu1", "Relu", g.conv("a", g.data, 16))
    x = g.op("sum", "Add", x, g.conv("b", g.conv("d", x, 16, group=16), 16, kernel=1))
    x = g.op("relu2", "Relu", g.conv("c", g.op("relu3", "Relu", x), 12))
    x = g.op("pool", "MaxPool", x, kernel_shape=[4, 4], strides=[4, 4])
    network = g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 4))
    data = SyntheticDataset(network, samples=64)
    groups = find_groups(network)
    costs, meter = Costs(network, groups), LossMeter.of(network, data)
    start, any_number = PruningState.start(network, groups, data), Limits(round_to=1)
    goal = Goal(rate=0.0, costs=costs, limits=any_number)
    most, rates = 0, []
    for threshold in (0.0, 0.1, 0.3):
        state = remove_to_loss(start, goal, threshold, meter)
        rates.append(1 - costs.total(state.removed) / costs.total())
        assert state.removed.sum() >= most
        most = state.removed.sum()
        assert state.compensated == bool(state.removed.any())
    assert 0 == rates[0] < rates[1] < rates[2] < 1
    unchanged = secateur.prune(network, threshold=0.0, data=data)
    assert "no channel can go within a loss of 0" in unchanged.notes[-1]
    pruned = secateur.prune(network, threshold=0.1, data=data, limits=any_number)
    assert pruned.plan.provenance["threshold"] == 0.1
    assert pruned.plan.provenance["rate"]["achieved"] == pytest.approx(rates[1], abs=1e-6)
    assert meter.loss(meter.value(pruned.network)) <= 0.1
    further = secateur.prune(network, rate=rates[1] + 0.1, data=data, limits=any_number)
    assert meter.loss(meter.value(further.network)) > 0.1


def test_several_passes_are_nearer_to_the_original_than_one(shared, monkeypatch):
    folder = shared / "models/mobilenetv2_yolo_fastest_voc"
    network = secateur.load(*folder.glob("*-voc.cfg"), *folder.glob("*-voc.weights"))
    data, other = (
        secateur.open_dataset(shared / f"data/coco/{split}2017/images", network, limit=24)
        for split in ("train", "val")
    )
    errors = {}
    for stride in (1.0, 0.15):
        monkeypatch.setattr(schedule, "STRIDE", stride)
        pruned = secateur.prune(network, rate=0.2, data=data)
        errors[stride] = secateur.fidelity(network, pruned.network, other).error
    assert errors[0.15] < 0.95 * errors[1.0], errors


class Pictures:
    """Samples whose channels are constant over space."""

    name, samples, labelled, problems = "pictures", 64, False, ()

    def __iter__(self):
        random = np.random.default_rng(5)
        values = random.standard_normal((self.samples, 3, 1, 1), dtype=np.float32)
        for start in range(0, self.samples, 16):
            yield Batch(inputs={"data": np.tile(values[start : start + 16], (1, 1, 8, 8))})


def everything(network, operators):
    """What outputs lack when all that is read goes."""
    return {operator.key: network.array(operator.weight) for operator in operators}


def test_disturbances_do_not_average_out_over_space():
    g = Graph(seed=2)
    pooled = g.op("pool", "GlobalAveragePool", g.conv("a", g.data, 16, kernel=1))
    net = g.network(y=g.gemm("out", g.op("flat", "Flatten", pooled), 5))
    (before,) = [o for o in find_operators(net) if o.key.startswith("a")]
    weight = measure_output_sensitivities(net, [before], Pictures(), everything(net, [before]))[
        before.key
    ]
    # Noise that differs from place to place would leave a 64th of it.
    assert weight == pytest.approx(1.0, rel=0.1)


def test_disturbances_are_measured_before_a_softmax():
    """A network that is sure of everything tells nothing in its probabilities."""
    weights = {}
    for kind in ("Identity", "Softmax"):
        g = Graph(seed=4)
        logits = g.gemm("out", g.op("flat", "Flatten", g.conv("a", g.data, 6)), 5)
        net = g.network(y=g.op("last", kind, logits))
        (first,) = [o for o in find_operators(net) if o.key.startswith("a")]
        errors = everything(net, [first])
        weights[kind] = measure_output_sensitivities(net, [first], Pictures(), errors)[first.key]
    assert weights["Softmax"] == weights["Identity"] > 0


@pytest.mark.parametrize(
    ("samples", "step", "most", "rounds"),
    [
        (64, 1, 1000, [(0, 16), (16, 32), (32, 64)]),
        (70, 1, 1000, [(0, 16), (16, 32), (32, 70)]),
        (48, 1, 1000, [(0, 16), (16, 32), (32, 48)]),
        (5, 1, 1000, [(0, 5)]),
        (60, 10, 1000, [(0, 20), (20, 40), (40, 60)]),
        (7, 1, 2, [(0, 2), (2, 4), (4, 7)]),
    ],
)
def test_rounds_cover_all_samples(samples, step, most, rounds):
    assert _rounds(samples, step, most) == rounds


@pytest.mark.parametrize(("samples_paid", "taken"), [(1, 16), (40, 40), (1000, 64)])
def test_a_large_network_is_measured_on_fewer_samples(monkeypatch, samples_paid, taken):
    g = Graph(seed=2)
    x = g.op("relu", "Relu", g.conv("first", g.data, 8))
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 5))
    operators = find_operators(net)
    operations = operations_by_node(net, find_groups(net))
    # What stands behind the first layer is the last one; behind the last, nothing.
    monkeypatch.setattr(
        output_sensitivity, "MOST_OPERATIONS", samples_paid * min(operations.values())
    )
    asked = []
    real = output_sensitivity._rounds
    monkeypatch.setattr(
        output_sensitivity, "_rounds", lambda n, *rest: asked.append(n) or real(n, *rest)
    )
    data = SyntheticDataset(net, samples=100)
    errors = everything(net, operators)
    measure_output_sensitivities(net, operators, data, errors, operations=operations)
    assert asked == [taken]


@pytest.mark.parametrize("batch", ["N", 10])
def test_weights_are_known_as_well_as_is_asked(batch, monkeypatch):
    g = Graph(seed=2, batch=batch)
    x = g.op("relu", "Relu", g.conv("first", g.data, 8))
    net = g.network(y=g.gemm("fc", g.op("flat", "Flatten", x), 5))
    data = SyntheticDataset(net, samples=60)
    operators = find_operators(net)
    errors = everything(net, operators)
    found = measure_output_sensitivities(net, operators, data, errors)
    monkeypatch.setattr(output_sensitivity, "STANDARD_ERROR_WANTED", 0.0)
    for key, weight in measure_output_sensitivities(net, operators, data, errors).items():
        assert found[key] == pytest.approx(weight, rel=0.5)
