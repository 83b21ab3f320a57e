"""What fills the last part of a rate, where the best step is too large for it."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.cost.network_cost import Costs
from secateur.core.coupling import find_groups
from secateur.core.obs.select import Goal, _Ending, _Offer
from secateur.core.plan.limits import Limits
from secateur.core.plan.steps import Step, cut
from support.graphs import Graph


def network():
    g = Graph(seed=1)
    x = g.data
    for number, width in enumerate((16, 16, 16)):
        x = g.op(f"r{number}", "Relu", g.conv(f"c{number}", x, width))
    return g.network(y=g.conv("last", x, 4))


def ending(round_to: int | str, *, exact: bool = True) -> _Ending:
    net = network()
    costs = Costs(net, find_groups(net))
    limits = Limits(round_to=round_to)
    return _Ending(Goal(rate=0.5, costs=costs, limits=limits, exact=exact))


def offer(unit: int, ratio: float, saved: float) -> _Offer:
    return _Offer(units=(unit,), loss=ratio * saved, saved=saved)


BEST, FAIR, DEAR = offer(0, 1.0, 10.0), offer(1, 2.9, 2.0), offer(2, 3.1, 1.0)
"""The best step, one that harms a little more for what it saves, and one that harms much more."""


@pytest.mark.parametrize("round_to", ["auto", 8])
def test_a_rest_takes_what_harms_little_more(round_to: int | str) -> None:
    chooses = ending(round_to)
    assert chooses.cheapest([DEAR, BEST, FAIR], budget=11.0) == BEST.units
    assert chooses.cheapest([DEAR, BEST, FAIR], budget=3.0) == FAIR.units
    # The fair step was the steepest up to now, so that much more is allowed.
    assert chooses.cheapest([DEAR, BEST], budget=1.0) == DEAR.units
    fresh = ending(round_to)
    assert fresh.cheapest([BEST], budget=11.0) == BEST.units
    assert fresh.cheapest([DEAR, BEST], budget=3.0) is None


def test_finer_steps_follow_and_single_channels_always_fill() -> None:
    chooses = ending("auto")
    assert chooses.cheapest([BEST], budget=11.0) == BEST.units
    seen = []
    while (limits := chooses.finer()) is not None:
        seen.append(limits.multiple(100))
        found = chooses.cheapest([DEAR, BEST], budget=3.0)
        assert found == (DEAR.units if limits.single else None)
    assert seen == [4, 2, 1]
    assert ending(8).finer() is None


def test_single_channels_fill_from_the_start() -> None:
    chooses = ending(1)
    assert chooses.cheapest([BEST], budget=11.0) == BEST.units
    assert chooses.cheapest([DEAR, BEST], budget=3.0) == DEAR.units


def test_where_nothing_has_left_any_step_of_a_number_may() -> None:
    assert ending(8).cheapest([DEAR, BEST], budget=3.0) == DEAR.units
    assert ending("auto").cheapest([DEAR, BEST], budget=3.0) is None, "finer ones come first"


def test_passes_before_the_last_leave_the_rest() -> None:
    chooses = ending(1, exact=False)
    assert chooses.cheapest([BEST], budget=11.0) == BEST.units
    assert chooses.cheapest([FAIR, BEST], budget=3.0) is None
    assert chooses.finer() is None


def test_an_order_fills_from_near_alone() -> None:
    net = network()
    groups = find_groups(net)
    costs = Costs(net, groups)
    whole = costs.total()
    order = []
    for index, count in ((0, 2), (1, 8), (2, 2)):
        (partition,) = groups.groups[index].partitions
        (share,) = partition
        units = groups.groups[index].members(share)
        order.append(Step(index, count / 16, tuple(units[:count])))
    single = [1.0 - costs.total(groups.mask(step.units)) / whole for step in order]
    assert single[1] > 0.2
    rate = single[0] + single[2] + 0.02
    far, _ = cut(order, groups, costs, rate)
    near, _ = cut(order, groups, costs, rate, near=0.01)
    both = groups.mask([*order[0].units, *order[2].units])
    np.testing.assert_array_equal(far, both)
    np.testing.assert_array_equal(near, groups.mask(order[0].units))
