"""Floors of shares and layers, and how far a network can be pruned within them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secateur.core.cost.network_cost import Costs
from secateur.core.coupling import Groups, find_groups
from secateur.core.ir.network import Network
from secateur.core.plan.floors import find_floors, protected_units
from secateur.core.plan.limits import Limits
from secateur.core.plan.reach import find_reach, steps_left
from secateur.core.plan.steps import legal_steps, partition_steps
from support.graphs import Graph


def stages() -> Network:
    """A sum of 40 channels, of which a layer of 10 makes the first and one of 30 the others."""
    g = Graph(seed=1)
    first = g.conv("first", g.data, 10)
    both = g.op("both", "Concat", first, g.conv("more", first, 30), axis=1)
    x = g.op("sum", "Add", both, g.conv("wide", first, 40))
    x = g.op("pool", "MaxPool", g.op("relu", "Relu", x), kernel_shape=[4, 4], strides=[4, 4])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 4))


@pytest.fixture(scope="module")
def network() -> Network:
    return stages()


@pytest.fixture(scope="module")
def groups(network: Network) -> Groups:
    return find_groups(network)


ANY = Limits(round_to=1)


def least_of(groups: Groups, limits: Limits, asked: tuple[int, ...] = ()) -> dict[int, int]:
    """Return size of a set → units that stay."""
    floors = find_floors(groups, limits, asked)
    return {len(units): least for units, least in zip(floors.sets, floors.least, strict=True)}


def test_each_layer_has_a_floor_of_its_own(groups):
    assert least_of(groups, ANY) == {10: 1, 30: 3, 40: 4, 4: 1}
    assert least_of(groups, Limits(min_keep=0.25, round_to=1)) == {10: 3, 30: 8, 40: 10, 4: 1}
    assert least_of(groups, Limits(min_keep=0.0, round_to=1)) == {10: 1, 30: 1, 40: 1, 4: 1}
    assert least_of(groups, Limits(min_keep=0.25)) == {10: 3, 30: 8, 40: 12, 4: 1}
    assert least_of(groups, Limits(round_to=8)) == {10: 8, 30: 8, 40: 8, 4: 4}
    assert least_of(groups, ANY, asked=(0,)) == {10: 1, 30: 1, 40: 1, 4: 1}


def test_floors_count_from_what_earlier_rounds_found(groups):
    name = groups.groups[0].name
    before = replace(groups, widths={name: 100})
    assert least_of(before, ANY) == {10: 3, 30: 8, 40: 10, 4: 1}
    assert least_of(replace(groups, widths={name: 10}), ANY) == least_of(groups, ANY)
    assert least_of(replace(groups, widths={name: 900}), ANY) == {10: 10, 30: 30, 40: 40, 4: 1}


def test_narrow_sets_are_protected_first_and_count_for_wide_ones(groups):
    (group,) = (group for group in groups.groups if len(group.units) == 40)
    scores = np.zeros(groups.unit_count)
    scores[list(group.units)] = np.arange(40)
    kept = protected_units(groups, scores, find_floors(groups, Limits()))
    places = [place for place, unit in enumerate(group.units) if kept[unit]]
    assert places == [9, 37, 38, 39]  # one of the first ten, three of the others: four in all


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(min_keep=0.0), Limits(round_to=4, max_rate=0.5)]
)
def test_the_reach_holds_for_every_choice_of_channels(network, groups, limits):
    costs, floors = Costs(network, groups), find_floors(groups, limits)
    reach = find_reach(groups, costs, limits, {}, floors)
    assert 0 < reach.sure <= reach.most < 1
    random = np.random.default_rng(2)
    for _ in range(20):
        scores = random.random(groups.unit_count)
        steps = [step for own in partition_steps(groups, scores, limits) for step in own]
        legal = legal_steps(steps, groups, floors)
        removed = groups.mask(unit for step in legal for unit in step.units)
        gone = 1 - costs.total(removed) / costs.total()
        assert reach.sure - 1e-9 <= gone <= reach.most + 1e-9
        assert not steps_left(groups, removed, limits, {}, floors)
        part = groups.mask(unit for step in legal[:-1] for unit in step.units)
        assert steps_left(groups, part, limits, {}, floors)


def test_layers_that_keep_their_parts_leave_little_to_chance(network, groups):
    """Whichever channels stay, one of the narrow layer does, and three of the other."""
    reach = find_reach(groups, Costs(network, groups), Limits(), {}, find_floors(groups, Limits()))
    assert reach.most - reach.sure < 1e-9
