"""One-step pruning: the best of random allocations, by what is measured."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.allocation import AllocationContext, Override, one_step
from secateur.core.allocation.trial import TrialBench
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.evaluation.loss import LossMeter
from secateur.core.plan.plan import removed_units
from secateur.core.plan.state import PruningState
from secateur.core.progress import silent
from secateur.core.pruning.options import PruneOptions
from secateur.core.pruning.prune import prune
from secateur.core.repair import REPAIRS
from support.graphs import Graph
from support.rich import rich


def test_the_best_candidate_is_taken(monkeypatch):
    """Every candidate is measured again here, from the removal that it makes."""
    network = rich()
    data = SyntheticDataset(network, samples=20)
    seen = []
    loss = TrialBench.loss

    def watched(self, removed):
        found = loss(self, removed)
        seen.append((removed.copy(), found))
        return found

    monkeypatch.setattr(TrialBench, "loss", watched)
    result = prune(
        network, rate=0.4, criterion="l1", allocation="one-step", candidates=6, data=data,
        repair="none", jobs=1,
    )  # fmt: skip
    groups = find_groups(network)
    assert 2 <= len(seen) <= 6
    best = min(seen, key=lambda one: one[1])
    assert np.array_equal(removed_units(result.plan, groups), best[0])
    even = prune(network, rate=0.4, criterion="l1", allocation="uniform", data=data, repair="none")
    assert np.array_equal(seen[0][0], removed_units(even.plan, groups))
    meter = LossMeter.of(network, data)
    for removed, found in seen:
        state = PruningState.start(network, groups, data).after(removed)
        dense = state.dense()
        adapted = REPAIRS["recalibrate"].apply(state, dense, silent)
        if adapted is dense:  # no normalisation reads what changed
            adapted = REPAIRS["bias"].apply(state, dense, silent)
        assert meter.loss(meter.value(adapted)) == pytest.approx(found, rel=1e-6)


def test_networks_without_normalisations_get_other_shifts():
    g = Graph(channels=2, size=4)
    a = g.op("act", "Relu", g.conv("a", g.data, 10))
    network = g.network(y=g.conv("out", g.op("act2", "Relu", g.conv("b", a, 10)), 3))
    data = SyntheticDataset(network, samples=60)
    settings = {"rate": 0.5, "criterion": "l1", "allocation": "one-step", "candidates": 8}
    results = [prune(network, data=data, **settings) for _ in range(2)]
    assert results[0].plan.to_yaml() == results[1].plan.to_yaml()
    assert results[0].plan.provenance["candidates"] == 8
    assert 0.4 < results[0].plan.provenance["rate"]["achieved"] <= 0.5


def test_a_layer_of_its_own_keeps_its_number():
    network = rich()
    data = SyntheticDataset(network, samples=12)
    result = prune(
        network, rate=0.4, criterion="l1", allocation="one-step", candidates=3, data=data,
        overrides={"h": Override(rate=0.0)},
    )  # fmt: skip
    assert all(entry.name != "h" or not entry.removed for entry in result.plan.groups)


def test_speeds_decide_how_much_each_group_loses():
    network = rich()
    groups = find_groups(network)
    context = AllocationContext(
        groups=groups, savings=np.ones(groups.unit_count), scores=np.arange(groups.unit_count) * 1.0
    )
    speeds = np.random.default_rng(0).uniform(0.05, 1, len(groups.groups))
    order = one_step.by_speed(context.steps(), speeds)
    reached = [step.fraction / speeds[step.group] for step in order]
    assert reached == sorted(reached)
    assert len(order) == len(context.steps())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 3}, "only the allocation one-step has candidates"),
        ({"candidates": 0, "allocation": "one-step"}, "at least one candidate"),
        ({"steps": 0}, "at least one step"),
    ],
)
def test_wrong_options_are_refused(settings, message):
    with pytest.raises(PlanError, match=message):
        PruneOptions(rate=0.3, **settings)


def test_it_needs_data():
    with pytest.raises(PlanError, match="allocation 'one-step' measures on data"):
        prune(rich(), rate=0.3, allocation="one-step")
