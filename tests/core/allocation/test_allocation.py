"""Allocations and budgets: what is asked for is what leaves, on real networks."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.allocation import ALLOCATIONS, AllocationContext
from secateur.core.allocation.greedy import hull_slopes
from secateur.core.allocation.ranking import ranking
from secateur.core.cost.budget import make_costs
from secateur.core.cost.layer_latency import layer_latencies
from secateur.core.cost.network_cost import Costs, MarginalSavings, measure_cost
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import shrink
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.plan.limits import Limits
from secateur.core.plan.plan import removed_units
from secateur.core.plan.steps import cut
from secateur.core.pruning.choose import choose
from secateur.core.pruning.options import PruneOptions
from secateur.core.sensitivity import analyze
from support.graphs import Graph


@pytest.fixture(scope="module")
def lenet(shared):
    folder = shared / "models/lenet_mnist"
    return secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")


@pytest.fixture(scope="module")
def detector(shared):
    folder = shared / "models/yolo_fastest_1.1_coco"
    return secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")


@pytest.fixture(scope="module")
def noise(lenet):
    return SyntheticDataset(lenet, samples=64)


@pytest.fixture(scope="module")
def curves(lenet, noise):
    return analyze(lenet, noise, rates=[0.2, 0.4, 0.6, 0.8])


ANY = Limits(round_to=1)


def mixed():
    """A residual sum, a depthwise and a grouped convolution, and a fully connected layer."""
    g = Graph(seed=3)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 12))
    d = g.conv("d", a, 12, group=12)
    b = g.op("sum", "Add", a, g.conv("b", d, 12, kernel=1))
    x = g.op("pool", "MaxPool", g.op("relu2", "Relu", b), kernel_shape=[2, 2], strides=[2, 2])
    c = g.op("relu3", "Relu", g.conv("c", x, 8, group=2))
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", c), 4))


def choice_of(network, groups, *, data=None, **settings):
    return choose(network, groups, PruneOptions(**settings), data=data)


def scores_of(name, network, groups):
    return CRITERIA[name].score(ScoreContext(network=network, groups=groups))


def kept(choice):
    return {group.name: group.kept for group in choice.plan.groups}


def test_they_are_all_there_and_say_where_they_come_from():
    assert sorted(ALLOCATIONS) == [
        "global",
        "greedy",
        "isomorphic",
        "one-step",
        "sensitivity",
        "threshold",
        "uniform",
    ]
    assert all(entry.summary and entry.source for entry in ALLOCATIONS.values())
    with pytest.raises(PlanError, match=r"unknown allocation 'uniformly' \(hint: did you mean uni"):
        ALLOCATIONS.find("uniformly")


@pytest.mark.parametrize("name", ["uniform", "global", "sensitivity", "greedy"])
@pytest.mark.parametrize("budget", ["operations", "parameters"])
def test_each_meets_a_rate_of_lenet_and_twice_the_same(lenet, curves, name, budget):
    analysis = curves if ALLOCATIONS.find(name).needs_analysis else None
    groups = find_groups(lenet)
    settings = {"rate": 0.5, "allocation": name, "budget": budget, "analysis": analysis}
    choice = choice_of(lenet, groups, criterion="l1", **settings)
    assert choice.plan == choice_of(lenet, groups, criterion="l1", **settings).plan
    assert choice.plan.provenance["allocation"] == name
    dense = shrink(lenet, groups, removed_units(choice.plan, groups))
    costs = [getattr(measure_cost(n, find_groups(n)), budget) for n in (lenet, dense)]
    gone = 1.0 - costs[1] / costs[0]
    assert choice.plan.provenance["rate"]["achieved"] == pytest.approx(gone, abs=1e-6)
    assert 0.48 < gone <= 0.5


def test_global_and_uniform_differ_and_each_group_loses_its_lowest(lenet):
    groups = find_groups(lenet)
    even, ranked = (
        choice_of(lenet, groups, rate=0.5, criterion="l2", allocation=name, limits=ANY)
        for name in ("uniform", "global")
    )
    shares = {group.name: group.kept / group.channels for group in even.plan.groups}
    assert max(shares.values()) - min(shares.values()) < 0.06
    assert kept(even) != kept(ranked)
    scores = scores_of("l2", lenet, groups)
    for entry in ranked.plan.groups:
        own = scores[list(groups.by_name(entry.name).units)]
        gone = own[list(entry.removed)]
        assert not len(gone) or gone.max() <= np.delete(own, entry.removed).min()


def test_the_scale_of_a_layer_does_not_matter_to_the_ranking(lenet):
    groups = find_groups(lenet)
    scores = scores_of("l1", lenet, groups)
    order = ranking(groups, scores)
    scaled = scores.copy()
    scaled[list(groups.by_name("conv2").units)] *= 1024.0  # exact in binary
    assert ranking(groups, scaled) == order


def test_the_hull_of_a_curve():
    # From (0, 0) over (1, 0) straight to (4, 3): the points between lie above; the last is unknown.
    slopes = hull_slopes(np.array([1.0, 1, 1, 1, 1]), [0.0, 2, 2.5, 3, np.inf])
    assert slopes == [0.0, 1.0, 1.0, 1.0, np.inf]
    assert hull_slopes(np.array([0.0, 2.0]), [0.0, 1.0]) == [0.0, 0.5]


def test_greedy_loses_least_of_all_by_its_own_estimate(lenet, curves):
    """The sum of the groups' losses is least for the same rate; here by convexified curves."""
    groups = find_groups(lenet)
    costs = Costs(lenet, groups)
    saved = MarginalSavings(groups, costs).saved
    estimates = {}
    for name in ("greedy", "sensitivity"):
        order = ALLOCATIONS[name].order(context_of(groups, curves, saved))
        slope = dict(zip(*sloped(groups, curves, saved), strict=True))
        removed, gone = cut(order, groups, costs, 0.5)
        assert gone == pytest.approx(0.5, abs=0.01)
        estimates[name] = sum(
            slope[step.units] * saved[list(step.units)].sum()
            for step in order
            if removed[list(step.units)].all()
        )
    assert estimates["greedy"] <= estimates["sensitivity"] * 1.001


def context_of(groups, curves, saved):
    return AllocationContext(
        groups=groups,
        limits=ANY,
        savings=saved,
        analysis=curves,
        scores=np.zeros(groups.unit_count),
    )


def sloped(groups, curves, saved):
    """Units of every step, and the slope of its group's hull there."""
    order = ALLOCATIONS["greedy"].order(context_of(groups, curves, saved))
    slopes = {}
    for group in {step.group for step in order}:
        own = [step for step in order if step.group == group]
        from secateur.core.allocation.threshold import step_losses

        losses = {s.units: loss for s, loss in step_losses(groups, curves)}
        gains = np.array([saved[list(step.units)].sum() for step in own])
        for step, slope in zip(
            own, hull_slopes(gains, [losses[step.units] for step in own]), strict=True
        ):
            slopes[step.units] = slope if np.isfinite(slope) else 1e9
    return list(slopes), list(slopes.values())


def test_obs_takes_its_numbers_from_other_allocations(lenet, noise, curves):
    groups = find_groups(lenet)
    plain = choice_of(lenet, groups, rate=0.5, criterion="l1", allocation="uniform")
    by_obs = choice_of(lenet, groups, rate=0.5, criterion="obs", allocation="uniform", data=noise)
    assert kept(by_obs) == kept(plain)
    assert by_obs.plan.groups != plain.plan.groups
    assert by_obs.state.compensated
    settings = {"rate": 0.5, "analysis": curves, "allocation": "greedy"}
    measured = choice_of(lenet, groups, criterion="obs", data=noise, **settings)
    assert kept(measured) == kept(choice_of(lenet, groups, **settings))
    assert measured.state.compensated
    own = choice_of(lenet, groups, rate=0.5, data=noise)
    assert own.plan.provenance["allocation"] == "global"
    assert kept(own) != kept(plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allocation": "greedy"}, "allocation 'greedy' needs an analysis"),
        ({"allocation": "threshold", "analysis": 1}, "takes a threshold, not a rate"),
        ({"allocation": "uniform", "analysis": 1}, "does not look at an analysis"),
        ({"allocation": "evenly"}, "unknown allocation 'evenly'"),
        ({"analysis": 1, "criterion": "l2"}, "the analysis was made with criterion 'l1'"),
        ({"analysis": 1, "criterion": "obs"}, "obs needs data"),
        ({"budget": "seconds"}, "unknown budget 'seconds'"),
        ({"latencies": {"conv1": 1.0}}, "latencies say nothing of a budget of operations"),
        (
            {"budget": "latency", "latencies": {"conv9": 1.0}},
            "the network has no such layer",
        ),
        ({"budget": "latency", "latencies": {"conv1": -1.0}}, "must be milliseconds, got -1"),
        ({"budget": "latency", "latencies": {"conv1": 0.0}}, "no layer with a latency has"),
        (
            {"rate": None, "threshold": 0.1, "analysis": 1, "allocation": "uniform"},
            "allocation 'uniform' takes a rate, not a threshold",
        ),
        ({"rate": None, "threshold": 0.1}, "a threshold needs an analysis"),
    ],
)
def test_what_makes_no_sense_is_refused(lenet, curves, settings, message):
    analysis = curves if settings.get("analysis") else None
    with pytest.raises(PlanError, match=message):
        choice_of(lenet, find_groups(lenet), **{"rate": 0.3, **settings, "analysis": analysis})


@pytest.mark.parametrize("budget", ["operations", "parameters", "latency"])
def test_what_a_unit_saves_is_the_difference(budget):
    network = mixed()
    groups = find_groups(network)
    table = {layer.name: 1.0 + number for number, layer in enumerate(network.layers)}
    costs = make_costs(network, groups, budget, table)
    savings = MarginalSavings(groups, costs)
    random = np.random.default_rng(0)
    removed = np.zeros(groups.unit_count, bool)
    places = [groups.by_name("a").units[k] for k in random.permutation(12)[:5].tolist()]
    for channel in places:
        before = costs.total(removed)
        expected = savings.saved[channel]
        removed[channel] = True
        savings.remove(channel)
        assert before - costs.total(removed) == pytest.approx(expected, rel=1e-9)
        assert savings.left() == pytest.approx(costs.total(removed), rel=1e-9)
    if budget == "latency":
        assert make_costs(network, groups, budget, table).total() == pytest.approx(
            sum(table.values())
        )


@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_a_table_of_latencies_decides_and_is_remembered(lenet, noise, criterion):
    """Where all time is spent in conv1, its channels leave until the rate is met."""
    groups = find_groups(lenet)
    table = {"conv1": 1.0, "conv2": 1e-6, "ip1": 1e-6}
    choice = choice_of(
        lenet, groups, rate=0.52, criterion=criterion, allocation="global", data=noise,
        budget="latency", latencies=table,
    )  # fmt: skip
    found = choice.plan.provenance
    assert found["budget"] == "latency"
    assert found["latencies"] == table
    assert found["rate"]["achieved"] == pytest.approx(0.5, abs=0.01)
    assert kept(choice)["conv1"] == 10


@pytest.mark.parametrize("kind", ["lenet", "detector"])
def test_times_are_found_for_the_layers_that_compute(request, kind):
    network = request.getfixturevalue(kind)
    times = layer_latencies(network, runs=5, warmup=1)
    names = [layer.name for layer in network.layers]
    assert set(times) <= set(names)
    assert all(time > 0 for time in times.values())
    weighted = {names[w.layer] for w in find_groups(network).cost_terms}
    assert len(weighted - set(times)) <= len(weighted) // 10
    assert sum(times[name] for name in weighted & set(times)) > 0.5 * sum(times.values())


def test_a_measured_budget_is_the_same_again_with_its_table(detector):
    groups = find_groups(detector)
    first = choice_of(detector, groups, rate=0.2, budget="latency", limits=Limits(round_to=2))
    again = choice_of(
        detector, groups, rate=0.2, budget="latency", limits=Limits(round_to=2),
        latencies=first.plan.provenance["latencies"],
    )  # fmt: skip
    assert again.plan.to_yaml() == first.plan.to_yaml()
    assert first.plan.provenance["rate"]["achieved"] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_a_budget_of_convolutions(lenet, noise, criterion):
    data = noise if criterion == "obs" else None
    result = secateur.prune(
        lenet, rate=0.5, budget="convolutions", criterion=criterion, data=data, repair="none"
    )
    before, after = (
        measure_cost(n, find_groups(n)).convolution_operations for n in (lenet, result.network)
    )
    assert 0.46 < 1 - after / before <= 0.5


def test_a_budget_of_convolutions_that_are_not_there():
    g = Graph()
    flat = g.op("flat", "Flatten", g.data)
    network = g.network(out=g.gemm("b", g.gemm("a", flat, 8), 3))
    with pytest.raises(PlanError, match="network 'net' has no convolution"):
        secateur.prune(network, rate=0.5, budget="convolutions", criterion="l1")
