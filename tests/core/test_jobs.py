"""Many passes on several threads: the same bytes for any number of them."""

from __future__ import annotations

import threading

import pytest

from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.data import SyntheticDataset
from secateur.core.engine import spread as own
from secateur.core.engine.spread import shared_out, spread, spread_in_any_order
from secateur.core.engine.threads import cores, limited
from secateur.core.errors import DataError, PlanError
from secateur.core.pruning.options import ChoiceOptions, IterateOptions, PruneOptions
from secateur.core.pruning.prune import prune
from support.normed import wide
from support.rich import rich

SPREAD = [name for name, entry in CRITERIA.items() if entry.spreads]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)


def test_these_criteria_make_many_passes():
    assert sorted(SPREAD) == ["oracle", "oracle-signed", "particle", "shapley",
                              "shapley-permutation"]  # fmt: skip


@pytest.mark.parametrize("name", SPREAD)
def test_scores_are_the_same_for_any_number_of_threads(name, monkeypatch):
    monkeypatch.setattr("secateur.core.data.shards.MOST_SAMPLES", 8)  # several pieces
    network = wide()
    groups = find_groups(network)
    threads = set()
    compute = own._called

    def seen(*call):
        threads.add(threading.get_ident())
        return compute(*call)

    monkeypatch.setattr(own, "_called", seen)
    found = []
    for jobs in (1, 2, 5):
        threads.clear()
        data = SyntheticDataset(network, samples=20)
        context = ScoreContext(network=network, groups=groups, data=data, jobs=jobs)
        found.append(CRITERIA[name].score(context).tobytes())
        assert (threads == {threading.get_ident()}) == (jobs == 1)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("make", [rich, wide])
def test_one_step_chooses_the_same_for_any_number_of_threads(make):
    network = make()
    data = SyntheticDataset(network, samples=60)
    settings = {"rate": 0.4, "criterion": "l1", "allocation": "one-step", "candidates": 6}
    one, two, five = (prune(network, data=data, jobs=jobs, **settings) for jobs in (1, 2, 5))
    assert one.plan.to_yaml() == two.plan.to_yaml() == five.plan.to_yaml()
    for name in one.network.graph.initializers:
        assert one.network.array(name).tobytes() == two.network.array(name).tobytes()


def test_threads_change_no_choice():
    """Plans, and rounds that are found again, say nothing of them."""
    assert "jobs" not in PruneOptions(rate=0.5, jobs=3).changed()
    assert ChoiceOptions(jobs=3).plain() == ChoiceOptions().plain()
    one, other = (IterateOptions(rates=(0.5,), jobs=jobs) for jobs in (None, 2))
    assert one.key() == other.key()
    assert other.of_round(0.5).jobs == 2
    with pytest.raises(PlanError, match="jobs must be at least 1, got 0"):
        PruneOptions(rate=0.5, jobs=0)


# -- the calls themselves ---------------------------------------------------------------------


def test_each_call_has_its_share_of_the_threads(two_cores):
    def count():
        return cores()

    assert list(spread(count, [(), ()], jobs=2)) == [1, 1]
    assert list(spread(count, [(), ()], jobs=2, threads=None)) == [2, 2]
    with limited(1):
        assert cores() == 1
    assert cores() == 2


def test_few_or_large_calls_get_several_threads(two_cores):
    assert shared_out(8, calls=50, each=0) == (8, 1)
    assert shared_out(8, calls=2, each=0) == (2, 4)
    assert shared_out(8, calls=50, each=own.TOGETHER / 3) == (3, 2)
    assert shared_out(8, calls=50, each=2 * own.TOGETHER) == (1, 8)
    assert shared_out(None, calls=50, each=0) == (2, 1)


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_have_the_order_of_the_calls(jobs):
    done = [threading.Event() for _ in range(3)]
    waits = jobs == 3

    def work(number):
        if waits and number < 2:
            assert done[number + 1].wait(10)  # those behind it are ready first
        done[number].set()
        return number * 10

    calls = [(number,) for number in range(3)]
    assert list(spread(work, calls, jobs=jobs)) == [0, 10, 20]
    for event in done:
        event.clear()
    found = list(spread_in_any_order(work, calls, jobs=jobs))
    assert found == ([(2, 20), (1, 10), (0, 0)] if waits else [(0, 0), (1, 10), (2, 20)])
    assert list(spread(work, [], jobs=jobs)) == []


@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")  # joblib's word on what was cancelled
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_call_arrives_as_it_is(jobs):
    def work(number):
        if number == 3:
            raise DataError("the fourth is bad")
        return number

    found = spread(work, [(number,) for number in range(9)], jobs=jobs)
    with pytest.raises(DataError, match="the fourth is bad"):
        list(found)
