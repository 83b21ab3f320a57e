"""Every criterion, allocation and repair keeps its promise on the trained networks of fixtures/."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.core.coupling import Groups, find_groups
from secateur.core.criteria.registry import ScoreContext
from secateur.core.data import Dataset
from secateur.core.data.part import first_part
from secateur.core.ir.network import Network
from secateur.core.plan.state import PruningState
from secateur.core.progress import silent
from secateur.core.pruning.result import PruneResult
from secateur.core.repair import repaired
from secateur.core.repair.output_error import output_error
from secateur.core.sensitivity import Analysis
from support.analysis import opened
from support.contract.registries import CHOICES, removal

FORMATS = ("caffe", "darknet")
RATE = 0.3
LOSS = 0.05
"""What an allocation by a threshold may lose of the accuracy, for every group on its own."""


@dataclass(frozen=True)
class Fixture:
    """A trained network, samples for it, and its groups."""

    network: Network
    data: Dataset
    groups: Groups


@cache
def fixture(format_: str) -> Fixture:
    network, data = opened(format_, "shapes.npz", limit=24)
    return Fixture(network, data, find_groups(network))


@cache
def analysis(format_: str) -> Analysis:
    own = fixture(format_)
    return secateur.analyze(own.network, own.data, rates=(0.2, 0.5, 0.8), jobs=1)


@cache
def pruned_and_left(format_: str) -> PruneResult:
    """Return the network with a third of its operations gone, and nothing done about it."""
    return secateur.prune(fixture(format_).network, rate=RATE, criterion="l1", repair="none")


def names(what: str) -> list[str]:
    return sorted(CHOICES[what])


@pytest.mark.parametrize("what", CHOICES)
def test_a_choice_says_what_it_is_and_where_it_comes_from(what: str) -> None:
    assert CHOICES[what]
    for name, entry in CHOICES[what].items():
        assert entry.name == name
        assert entry.summary
        assert entry.source


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", names("criterion"))
def test_a_criterion_scores_every_channel_the_same_twice(name: str, format_: str) -> None:
    own, criterion = fixture(format_), CHOICES["criterion"][name]
    # Criteria that state a cost make many passes: a few samples are enough for what is asked here.
    data = first_part(own.data, 8 if criterion.cost else 24) if criterion.needs_data else None
    context = ScoreContext(network=own.network, groups=own.groups, data=data)
    scores = criterion.score(context)
    assert scores.shape == (own.groups.unit_count,)
    assert np.isfinite(scores).all()
    for group in own.groups.groups:
        if group.prunable:
            assert len(set(scores[list(group.units)])) > 1, group.name
    np.testing.assert_array_equal(criterion.score(context), scores)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", names("allocation"))
def test_an_allocation_meets_a_rate(name: str, format_: str) -> None:
    own, allocation = fixture(format_), CHOICES["allocation"][name]
    needed = analysis(format_) if allocation.needs_analysis else None
    data = own.data if allocation.needs_data else None
    asked: dict[str, Any] = {"threshold": LOSS} if allocation.needs_threshold else {"rate": RATE}
    if name == "one-step":
        asked["candidates"] = 4
    found = [
        secateur.prune(
            own.network,
            data=data,
            criterion="l1",
            allocation=name,
            analysis=needed,
            repair="none",
            **asked,
        )
        for _ in range(2)
    ]
    _, removed = removal(own.network, found[0])
    assert removed.any()
    for group in own.groups.groups:
        assert group.prunable or not removed[list(group.units)].any(), group.name
        assert not removed[list(group.units)].all(), group.name
    if not allocation.needs_threshold:
        assert RATE - 0.02 <= found[0].plan.provenance["rate"]["achieved"] <= RATE
    assert found[0].plan.to_yaml() == found[1].plan.to_yaml()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", names("repair"))
def test_a_repair_that_is_kept_brings_the_outputs_nearer(name: str, format_: str) -> None:
    own, repair = fixture(format_), CHOICES["repair"][name]
    left = pruned_and_left(format_)
    groups, removed = removal(own.network, left)
    state = PruningState.start(own.network, groups, own.data).after(removed)
    dense = left.network
    tried = repair.apply(state, dense, silent)
    assert (tried.inputs, tried.outputs) == (dense.inputs, dense.outputs)
    assert [info.name for info in tried.layers] == [info.name for info in dense.layers]
    result, records = repaired(state, dense, (repair,))
    before, after = (output_error(own.network, network, own.data) for network in (dense, result))
    kept = [record for record in records if record.kept]
    assert (result is not dense) == bool(kept)
    if kept:
        assert after < before
    if repair.needs_data:
        assert records, "with channels gone there is something to repair"
