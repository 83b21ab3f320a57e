"""Schedules of masks: their formulas against numbers worked out by hand, and what they promise."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import Groups, find_groups
from secateur.core.coupling.edit import mask
from secateur.core.errors import PlanError
from secateur.core.finetune.schedules import SCHEDULES, Memory
from secateur.core.finetune.schedules.gradual import Cubic, Geometric, Linear
from secateur.core.finetune.schedules.growing import Growing, Incremental
from secateur.core.finetune.schedules.probabilistic import Probabilistic, change_of
from secateur.core.finetune.schedules.registry import Event
from secateur.core.finetune.sparsify import SparsifyOptions
from secateur.core.finetune.target import Target
from secateur.core.plan.plan import make_plan, removed_units

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
NAMES = sorted(SCHEDULES)


@pytest.fixture(scope="module")
def network() -> secateur.Network:
    return secateur.load(*CAFFE)


@pytest.fixture(scope="module")
def groups(network: secateur.Network) -> Groups:
    return find_groups(network)


def target(
    network: secateur.Network, groups: Groups, rate: float = 0.5, **settings: object
) -> Target:
    options = SparsifyOptions(method="cubic", rate=rate, **settings)  # type: ignore[arg-type]
    return Target.of(network, groups, groups.mask(()), options)


def followed(schedule: str, wanted: Target, events: int) -> list[Memory]:
    """Return the memories of a training in which weights do not change."""
    scores = wanted.scores(wanted.network)
    memories = [SCHEDULES[schedule].begin(wanted, scores)]
    for number in range(1, events + 1):
        event = Event(number=number, count=events, scores=scores)
        memories.append(SCHEDULES[schedule].change(wanted, memories[-1], event))
    return memories


def test_curves_of_rates() -> None:
    assert Linear().rate(0.0, 0.8, 0.25) == pytest.approx(0.2)
    assert Linear().rate(0.2, 0.8, 0.5) == pytest.approx(0.5)
    # Half of what is left, twice: a quarter is left.
    assert Geometric().rate(0.0, 0.75, 0.5) == pytest.approx(0.5)
    assert Geometric().rate(0.5, 0.875, 0.5) == pytest.approx(0.75)
    # 0.8 − 0.8 · (1/2)³, and 0.8 − 0.6 · (1/2)³
    assert Cubic().rate(0.0, 0.8, 0.5) == pytest.approx(0.7)
    assert Cubic().rate(0.2, 0.8, 0.5) == pytest.approx(0.725)
    for curve in (Linear(), Geometric(), Cubic()):
        assert curve.rate(0.1, 0.6, 0.0) == pytest.approx(0.1)
        assert curve.rate(0.1, 0.6, 1.0) == pytest.approx(0.6)


def test_change_of_probabilities() -> None:
    # u = 1/4, 3 to leave: α = ln 8 / 3 = ln 2, so e^(−α) = 1/2; N = ln 4 / ln 2 = 2.
    # Before N: A · 2^(−r). From there: A/2 − A · 2^(r − 4).
    ranks = np.arange(7, dtype=np.float64)
    found = change_of(ranks, 3, largest=0.08, balance=0.25)
    by_hand = [0.08, 0.04, 0.02, 0.0, -0.04, -0.12, -0.28]
    np.testing.assert_allclose(found, by_hand, atol=1e-12)


@pytest.mark.parametrize("missing", [1, 2, 5, 17, 400])
def test_the_rank_at_the_target_neither_gains_nor_loses(missing: int) -> None:
    ranks = np.array([0.0, missing - 0.5, missing, missing + 0.5, 1e6])
    delta = change_of(ranks, missing, largest=0.05, balance=0.25)
    assert delta[0] == pytest.approx(0.05)
    assert delta[1] > 0 > delta[3]
    assert delta[2] == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(delta).all()
    assert delta[4] < -1  # far behind, the probability is 1 again


def test_probabilities_by_hand(network: secateur.Network, groups: Groups) -> None:
    wanted = target(network, groups)
    schedule = Probabilistic(surplus=0.0)
    scores = wanted.scores(network)
    start = schedule.begin(wanted, scores)
    assert set(start.arrays["present"]) == {1.0}
    once = schedule.change(wanted, start, Event(number=1, count=100, scores=scores))
    share = max(wanted.shares(scores), key=lambda share: share.leave)
    ranked = sorted(share.units, key=lambda unit: (scores[unit], unit))
    alpha = np.log(8.0) / share.leave
    present = once.arrays["present"][ranked]
    assert present[0] == pytest.approx(0.95)
    assert present[1] == pytest.approx(1 - 0.05 * np.exp(-alpha))
    assert (present[share.leave :] == 1.0).all()
    twice = schedule.change(wanted, once, Event(number=2, count=100, scores=scores))
    assert twice.arrays["present"][ranked[0]] == pytest.approx(0.9)


def test_masks_are_drawn_with_the_probabilities(network: secateur.Network, groups: Groups) -> None:
    schedule = Probabilistic()
    half = Memory(
        removed=groups.mask([0]), arrays={"present": np.full(groups.unit_count, 0.25)}
    )  # fmt: skip
    drawn = [schedule.present(half, np.random.default_rng([3, k])) for k in range(200)]
    assert all(one is not None for one in drawn)
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.01)
    again = schedule.present(half, np.random.default_rng([3, 7]))
    np.testing.assert_array_equal(again, drawn[7])
    everyone = Memory(removed=groups.mask(()), arrays={"present": np.ones(groups.unit_count)})
    assert schedule.present(everyone, np.random.default_rng(0)) is None


def test_penalties_that_grow_evenly(network: secateur.Network, groups: Groups) -> None:
    wanted = target(network, groups)
    memories = followed("greg", wanted, 5)
    chosen = wanted.toward(0.5, wanted.scores(network), wanted.before)
    for number, memory in enumerate(memories[:-1]):
        penalties = Growing().penalties(memory)
        if number == 0:
            assert penalties is None
            continue
        assert penalties is not None
        np.testing.assert_allclose(penalties, np.where(chosen, number / 4, 0.0))
        assert not memory.removed.any()
    assert Growing().penalties(memories[-1]) is None
    np.testing.assert_array_equal(memories[-1].removed, chosen)


def test_penalties_that_follow_mean_ranks(network: secateur.Network, groups: Groups) -> None:
    wanted = target(network, groups)
    schedule = Incremental(part=0.1)
    scores = wanted.scores(network)
    start = schedule.begin(wanted, scores)
    share = max(wanted.shares(scores), key=lambda share: share.leave)
    ranked = sorted(share.units, key=lambda unit: (scores[unit], unit))
    first = schedule.change(wanted, start, Event(number=1, count=100, scores=scores))
    penalty = first.arrays["penalty"]
    # The ceiling of 1 in a tenth of 100 events: Δ(0) = 0.1.
    assert penalty[ranked[0]] == pytest.approx(0.1)
    np.testing.assert_allclose(penalty[ranked[share.leave :]], 0.0, atol=1e-15)
    # At the second event the lowest channel is suddenly the highest: its mean rank is (n − 1) / 2.
    other = scores.copy()
    other[ranked[0]] = scores.max() + 1
    second = schedule.change(wanted, first, Event(number=2, count=100, scores=other))
    count = len(ranked)
    assert second.arrays["mean"][ranked[0]] == pytest.approx((count - 1) / 2)
    assert second.arrays["mean"][ranked[1]] == pytest.approx(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_reached_by_a_legal_plan(
    name: str, network: secateur.Network, groups: Groups
) -> None:
    wanted = target(network, groups)
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


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_that_is_short_ends_all_the_same(
    name: str, network: secateur.Network, groups: Groups
) -> None:
    wanted = target(network, groups)
    last = followed(name, wanted, 1)[-1]
    assert 0.48 < wanted.reached(last.removed) <= 0.5
    removed_units(wanted.plan(last.removed, name), groups)
    forced = SCHEDULES[name].notes(last)
    assert bool(forced) == (name in ("spp", "increg"))
    assert all("left at the last event" in note for note in forced)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_plan_removed_stays_removed(
    name: str, network: secateur.Network, groups: Groups
) -> None:
    pruned = secateur.prune(network, rate=0.3, criterion="l2", repair="none")
    before = removed_units(pruned.plan, groups)
    options = SparsifyOptions(method=name, rate=0.5)
    wanted = Target.of(network, groups, before, options)
    last = followed(name, wanted, 100)[-1]
    assert last.removed[before].all()
    assert 0.48 < wanted.reached(last.removed) <= 0.5


def test_limits_and_excluded_layers_hold(network: secateur.Network, groups: Groups) -> None:
    limits = secateur.Limits(round_to=4, min_keep=0.25)
    for name in NAMES:
        wanted = target(network, groups, 0.4, limits=limits, exclude=("ip1",))
        plan = wanted.plan(followed(name, wanted, 100)[-1].removed, name)
        for entry in plan.groups:
            assert not (entry.removed and entry.kept % 4), name
            assert entry.kept >= 0.25 * entry.channels, name
            assert entry.name != "ip1" or not entry.removed, name
        assert plan.provenance["limits"] == {"round_to": 4, "min_keep": 0.25}
        assert plan.provenance["exclude"] == ["ip1"]


def test_what_cannot_be_removed_is_refused(network: secateur.Network, groups: Groups) -> None:
    with pytest.raises(PlanError, match=r"rate 0.999 is out of reach, 0.9\d\d is the most"):
        target(network, groups, 0.999)
    with pytest.raises(PlanError, match="needs data, and training asks for scores often"):
        target(network, groups, criterion="apoz")
    with pytest.raises(PlanError, match="cannot exclude 'nowhere'"):
        target(network, groups, exclude=("nowhere",))
    half = make_plan(groups, target(network, groups).toward(
        0.5, np.arange(groups.unit_count, dtype=np.float64), groups.mask(())
    ), {})  # fmt: skip
    with pytest.raises(PlanError, match=r"removes 0.4\d\d of the operations already"):
        Target.of(
            network, groups, removed_units(half, groups), SparsifyOptions(method="spp", rate=0.2)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0.5}, "a rate needs a schedule"),
        ({"method": "cubic"}, "a schedule needs a rate"),
        ({"method": "cubic", "rate": 1.0}, "over 0 and below 1, got 1"),
        ({"method": "cubic", "rate": 0.5, "every": 0}, "must be over 0, got 0"),
        ({"method": "cubic", "rate": 0.5, "ramp": 1.5}, "a part is over 0 and up to 1, got 1.5"),
    ],
)
def test_options_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        SparsifyOptions(**settings)  # type: ignore[arg-type]  # what users may write


def test_masked_places_are_those_of_the_plan(network: secateur.Network, groups: Groups) -> None:
    """The masks of training zero what :func:`mask` zeroes, and a drop puts all bits back."""
    from support.training import need_torch

    need_torch()
    from secateur.core.finetune.sparsity import Places
    from secateur.core.training.module import TrainingModule

    wanted = target(network, groups)
    removed = wanted.toward(0.5, wanted.scores(network), wanted.before)
    module = TrainingModule(network)
    places = Places.of(module, groups)
    masked = mask(network, groups, removed)
    factors = places.masks(removed)
    for name, parameter in module.named_parameters():
        expected = masked.array(name)
        found = parameter.detach().numpy()
        if name in factors:
            found = found * factors[name].numpy()
        np.testing.assert_array_equal(found, expected)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    with places.dropped(module, ~np.asarray(removed)):
        inside = module.network()
        data = secateur.open_dataset(FIXTURES / "shapes.npz", network, limit=8)
        for batch in data:
            first, second = (secateur.Session(net).run(batch.inputs) for net in (inside, masked))
            for name in first:
                np.testing.assert_allclose(first[name], second[name], atol=1e-5)
    for name, parameter in module.named_parameters():
        assert parameter.detach().numpy().tobytes() == before[name].numpy().tobytes()
