"""Every schedule of masks reaches its target by a legal plan, on weights that do not change."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import secateur
from secateur.core.finetune.schedules import SCHEDULES, Memory
from secateur.core.plan.plan import removed_units
from support.schedules import followed, groups_of, network_of, target

NAMES = sorted(SCHEDULES)


@pytest.mark.parametrize("name", NAMES)
def test_schedules_say_what_they_are(name: str) -> None:
    entry = SCHEDULES[name]
    assert entry.summary
    assert entry.source
    assert entry.events > 0


@pytest.mark.parametrize("format_", ["caffe", "darknet"])
@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_reached_by_a_legal_plan(name: str, format_: str) -> None:
    groups, wanted = groups_of(format_), target(format_)
    memories = followed(name, wanted, 120)
    rates = [wanted.reached(memory.removed) for memory in memories]
    assert rates[0] == 0.0
    assert all(
        not (earlier.removed & ~later.removed).any() for earlier, later in pairwise(memories)
    ), "a channel came back"
    assert 0.48 < rates[-1] <= 0.5
    plan = wanted.plan(memories[-1].removed, name)
    np.testing.assert_array_equal(removed_units(plan, groups), memories[-1].removed)
    assert plan.provenance["rate"] == {"asked": 0.5, "achieved": round(rates[-1], 6)}
    arrays = memories[-1].to_arrays()
    again = Memory.of({name: np.array(array) for name, array in arrays.items()})
    np.testing.assert_array_equal(again.removed, memories[-1].removed)
    assert set(again.arrays) == set(memories[-1].arrays)


@pytest.mark.parametrize("format_", ["caffe", "darknet"])
@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_that_is_short_ends_all_the_same(name: str, format_: str) -> None:
    groups, wanted = groups_of(format_), target(format_)
    last = followed(name, wanted, 1)[-1]
    assert 0.48 < wanted.reached(last.removed) <= 0.5
    removed_units(wanted.plan(last.removed, name), groups)


@pytest.mark.parametrize("format_", ["caffe", "darknet"])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_plan_removed_stays_removed(name: str, format_: str) -> None:
    pruned = secateur.prune(network_of(format_), rate=0.3, criterion="l2", repair="none")
    before = removed_units(pruned.plan, groups_of(format_))
    wanted = target(format_, before=before)
    last = followed(name, wanted, 100)[-1]
    assert last.removed[before].all()
    assert 0.48 < wanted.reached(last.removed) <= 0.5


def test_limits_and_excluded_layers_hold() -> None:
    limits = secateur.Limits(round_to=4, min_keep=0.25)
    for name in NAMES:
        wanted = target("caffe", 0.4, limits=limits, exclude=("ip1",))
        plan = wanted.plan(followed(name, wanted, 100)[-1].removed, name)
        for entry in plan.groups:
            assert not (entry.removed and entry.kept % 4), name
            assert entry.kept >= 0.25 * entry.channels, name
            assert entry.name != "ip1" or not entry.removed, name
        assert plan.provenance["limits"] == {"round_to": 4, "min_keep": 0.25}
        assert plan.provenance["exclude"] == ["ip1"]
