"""Schedules of masks: their formulas against numbers worked out by hand, and what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import Groups
from secateur.core.coupling.edit import mask
from secateur.core.errors import PlanError
from secateur.core.finetune.schedules import SCHEDULES, Memory
from secateur.core.finetune.schedules.gradual import Cubic, Geometric, Linear
from secateur.core.finetune.schedules.growing import Growing, Incremental
from secateur.core.finetune.schedules.probabilistic import Probabilistic, change_of
from secateur.core.finetune.schedules.registry import Event
from secateur.core.finetune.sparsify import SparsifyOptions
from secateur.core.plan.plan import make_plan, removed_units
from support.schedules import followed, groups_of, network_of, target

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
NAMES = ("cubic", "geometric", "greg", "increg", "linear", "spp")


@pytest.fixture(scope="module")
def network() -> secateur.Network:
    return network_of("caffe")


@pytest.fixture(scope="module")
def groups() -> Groups:
    return groups_of("caffe")


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
    wanted = target()
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
    wanted = target()
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
    wanted = target()
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
def test_what_had_to_leave_at_once_is_told(
    name: str, network: secateur.Network, groups: Groups
) -> None:
    wanted = target()
    told = SCHEDULES[name].notes(followed(name, wanted, 1)[-1])
    assert bool(told) == (name in ("spp", "increg"))
    assert all("left at the last event" in note for note in told)
    assert not SCHEDULES[name].notes(followed(name, wanted, 300)[-1])


def test_what_cannot_be_removed_is_refused(network: secateur.Network, groups: Groups) -> None:
    with pytest.raises(PlanError, match=r"rate 0.999 is out of reach, 0.9\d\d is the most"):
        target(rate=0.999)
    with pytest.raises(PlanError, match="needs data, and training asks for scores often"):
        target(criterion="apoz")
    with pytest.raises(PlanError, match="cannot exclude 'nowhere'"):
        target(exclude=("nowhere",))
    half = make_plan(groups, target().toward(
        0.5, np.arange(groups.unit_count, dtype=np.float64), groups.mask(())
    ), {})  # fmt: skip
    with pytest.raises(PlanError, match=r"removes 0.4\d\d of the operations already"):
        target(rate=0.2, before=removed_units(half, groups))


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

    wanted = target()
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
