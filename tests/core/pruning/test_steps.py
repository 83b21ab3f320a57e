"""Removal in steps: what is left is scored again, and what has left stays out."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.allocation import Override
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.plan.plan import removed_units
from secateur.core.pruning.prune import prune
from support.graphs import Graph
from support.rich import rich


def chain():
    g = Graph(channels=3, size=4)
    x = g.data
    for number in range(3):
        x = g.op(f"r{number}", "Relu", g.conv(f"l{number}", x, 10))
    return g.network(y=g.conv("end", x, 2))


@pytest.mark.parametrize("allocation", ["uniform", "global", "isomorphic"])
def test_channels_are_scored_again_in_the_masked_network(allocation):
    """By hand: the same steps, each from scores of the network with zeros."""
    network = chain()
    groups = find_groups(network)
    seen = []

    def similar(context):
        """Scores by similarity, watched."""
        scores = CRITERIA["similarity"].score(context)
        seen.append((context.network, scores))
        return scores

    result = prune(
        network, rate=0.6, steps=3, criterion=similar, allocation=allocation, repair="none"
    )
    removed = removed_units(result.plan, groups)
    assert len(seen) == 3
    assert seen[0][0] is network
    gone = [
        {unit for unit in range(groups.unit_count)
         if all(not given.array(u.parameter)[_where(groups, u, unit)].any()
                for u in groups.uses
                if u.role == "weight" and unit in groups.units[u.labels[0]])
         and any(u.role == "weight" and unit in groups.units[u.labels[0]] for u in groups.uses)}
        for given, _ in seen
    ]  # fmt: skip
    assert not gone[0]
    assert gone[0] < gone[1] < gone[2] < set(np.flatnonzero(removed).tolist())
    again = CRITERIA["similarity"].score(
        ScoreContext(network=mask(network, groups, groups.mask(gone[2])), groups=groups)
    )
    np.testing.assert_array_equal(again, seen[2][1])
    assert result.plan.provenance["steps"] == 3
    assert 0.55 < result.plan.provenance["rate"]["achieved"] <= 0.6


def _where(groups, use, unit):
    produced = groups.units[use.labels[0]] == unit
    return np.broadcast_to(produced, np.broadcast_shapes(*(a.shape for a in use.labels)))[
        tuple(slice(None) for _ in range(produced.ndim))
    ].any(axis=tuple(range(1, produced.ndim)))


def test_steps_change_what_a_criterion_chooses_only_where_its_scores_change():
    network = rich()
    once, often = (
        prune(network, rate=0.5, steps=steps, criterion="random", repair="none") for steps in (1, 4)
    )
    assert "steps" not in once.plan.provenance
    # Chance is the same in every step.
    assert [g.removed for g in once.plan.groups] == [g.removed for g in often.plan.groups]
    single, several = (
        prune(network, rate=0.5, steps=steps, criterion="dfpc", repair="none") for steps in (1, 4)
    )
    assert [g.removed for g in single.plan.groups] != [g.removed for g in several.plan.groups]


def test_history_holds_every_step_once():
    network = rich()
    result = prune(network, rate=0.5, steps=3, criterion="dfpc", repair="none")
    units = [unit for step in result.history for unit in step.units]
    groups = find_groups(network)
    assert sorted(units) == np.flatnonzero(removed_units(result.plan, groups)).tolist()
    assert len(units) == len(set(units))


def test_layers_of_their_own_lose_their_number_in_the_first_step():
    network = chain()
    result = prune(
        network, rate=0.5, steps=4, criterion="dfpc", repair="none",
        overrides={"l1": Override(rate=0.5)},
    )  # fmt: skip
    (entry,) = [group for group in result.plan.groups if group.name == "l1"]
    assert len(entry.removed) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion": "obs", "rate": 0.3}, "obs measures anew by itself"),
        ({"rate": 0.3}, "obs measures anew by itself"),
        ({"threshold": 0.1}, "steps lead to a rate"),
    ],
)
def test_what_has_an_order_of_its_own_takes_no_steps(settings, message):
    network = chain()
    with pytest.raises(PlanError, match=message):
        prune(network, steps=2, data=SyntheticDataset(network, samples=4), **settings)


def test_data_is_read_again_in_every_step():
    network = rich()
    data = SyntheticDataset(network, samples=12)
    result = prune(network, rate=0.4, steps=3, criterion="thinet", data=data)
    assert result.plan.provenance["proof"]["masked_equals_dense"] < 1e-4
