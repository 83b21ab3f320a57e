"""Balance rules in integers: what is found equals what trying everything finds."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from secateur.core.coupling import find_groups, lattice
from secateur.core.coupling.lattice import minimal_losses
from secateur.core.coupling.partitions import Partition, UnitSets, find_shares
from secateur.core.coupling.trace import Balance
from secateur.core.errors import PlanError
from secateur.core.plan.limits import NO_LIMITS, Limits
from secateur.core.plan.losses import largest_loss, legal_path, nearest, reachable
from secateur.core.plan.plan import Plan, removed_units
from support.graphs import Graph, shown


def random_rules(random, cells):
    """Equations of a random rule system: each part of a rule holds cells, some several times."""
    rows = []
    for _ in range(random.integers(1, 4)):
        parts = random.integers(0, 4, (random.integers(2, 4), cells)) * (
            random.random((1, cells)) < 0.7
        )
        rows += [tuple(row) for row in (parts[1:] - parts[0]).tolist()]
    return tuple(rows)


@cache
def losses_over_nothing(sizes):
    """All vectors over 0 in a box."""
    return np.array(list(itertools.product(*(range(size + 1) for size in sizes))))[1:]


def solutions(rows, sizes):
    """All losses over 0 that obey rules, by trying all."""
    grid = losses_over_nothing(sizes)
    return grid[~(grid @ np.array(rows).T).any(axis=1)] if len(grid) else np.empty((0, len(sizes)))


def same(steps, wanted):
    """Whether steps are solutions, and generate all: below each solution, there is a step."""
    known = {tuple(row) for row in wanted.tolist()}
    below = np.zeros(len(wanted), dtype=bool)
    for step in steps:
        below |= (wanted >= step).all(axis=1)
    return set(steps) <= known and bool(below.all())


def test_ten_thousand_rule_systems_equal_brute_force():
    random = np.random.default_rng(0)
    solvable = 0
    for _ in range(10_000):
        sizes = tuple(random.integers(0, 4, random.integers(1, 6)).tolist())
        rows = random_rules(random, len(sizes))
        wanted = solutions(rows, sizes)
        steps = minimal_losses(rows, sizes)
        assert same(steps, wanted), (rows, sizes)
        assert bool(steps) == bool(len(wanted))
        solvable += bool(steps)
    assert 3_000 < solvable < 9_000  # both kinds were there


@pytest.mark.parametrize("kept", [False, True])
def test_without_a_search_existence_is_still_exact(monkeypatch, kept):
    monkeypatch.setattr(lattice, "BUDGET", 0)
    minimal_losses.cache_clear()
    random = np.random.default_rng(1)
    for _ in range(60):
        sizes = tuple(random.integers(1, 4, 5).tolist())
        rows = random_rules(random, 5)
        sets = (tuple(random.choice(5, 2, replace=False).tolist()),) if kept else ()
        wanted = [
            loss for loss in solutions(rows, sizes).tolist()
            if not lattice.empties(tuple(loss), sizes, sets)
        ]  # fmt: skip
        steps = minimal_losses(rows, sizes, sets)
        assert {*steps} <= {tuple(loss) for loss in wanted}
        assert bool(steps) == bool(wanted), (rows, sizes, sets)
    minimal_losses.cache_clear()


def test_a_search_that_would_be_long_ends():
    """All ways to take one channel from each row and column of a square: 8! minimal losses."""
    square = np.arange(64).reshape(8, 8)
    rows = []
    for lines in (square, square.T):
        for line in lines[1:]:
            row = np.zeros(64, dtype=int)
            row[line], row[lines[0]] = row[line] + 1, row[lines[0]] - 1
            rows.append(tuple(row.tolist()))
    steps = minimal_losses(tuple(rows), (1,) * 64)
    assert len(steps) == 8
    assert np.array(steps).sum(axis=0).tolist() == [1] * 64


def shares_of(balances, fixed, sets, count):
    """The partitions of one group of `count` units."""
    return find_shares(
        [np.arange(count)], balances, fixed,
        UnitSets.of(np.arange(count), [np.array(units) for units in sets]),
    )[0]  # fmt: skip


def test_a_removal_is_legal_where_brute_force_says_so():
    random = np.random.default_rng(2)
    count = 7
    subsets = np.array(list(itertools.product([False, True], repeat=count)))
    partial = 0
    for _ in range(200):
        balances, sets = [], []
        for number in range(random.integers(1, 3)):
            parts = random.integers(0, count, (random.integers(2, 4), random.integers(1, 5)))
            balances.append(Balance(parts, f"rule {number}"))
            sets += list(parts)
        fixed = random.random(count) < 0.2
        legal = ~(subsets & fixed).any(axis=1)
        for rule in balances:
            lost = subsets[:, rule.labels].sum(axis=2)
            legal &= (lost == lost[:, :1]).all(axis=1)
        for units in sets:
            legal &= ~subsets[:, units].all(axis=1)
        alone = [units[0] for units in sets if len(set(units)) == 1]
        fixed[alone] = True
        found = shares_of(balances, fixed, sets, count)
        for removed, allowed in zip(subsets, legal, strict=True):
            assert _allowed(found.partitions, removed, sets) == allowed, (balances, fixed, removed)
        assert bool(found.partitions) == bool(legal[1:].any())
        stuck = {place for _, places in found.refused for place in places}
        free = {place for each in found.partitions for share in each for place in share}
        assert stuck | free == set(np.flatnonzero(~fixed).tolist())
        assert not stuck & free
        partial += bool(stuck and free)
    assert partial > 2


def _allowed(partitions, removed, sets):
    left = {int(place) for place in np.flatnonzero(removed)}
    for partition in partitions:
        loss = tuple(len(left.intersection(share)) for share in partition)
        reached = loss in {*_sums(partition)}
        if partition.allows(loss) and set(partition.steps) != {(1,) * len(partition)}:
            assert partition.obeys(loss) == reached
        assert partition.obeys(loss) or not reached
        if not partition.obeys(loss):
            return False
        for share in partition:
            left.difference_update(share)
    return not left and not any(removed[units].all() for units in sets)


def _sums(partition):
    layer = {(0,) * len(partition)}
    while layer:
        yield from layer
        layer = {
            after
            for loss in layer
            for step in partition.steps
            if partition.allows(after := tuple(np.add(loss, step).tolist()))
        }


TWENTY_ONE = Partition(
    shares=((0, 1), (2,), (3,), (4,), (5, 6)),
    steps=((1, 0, 1, 0, 1), (1, 1, 0, 1, 1)),
    kept=((0, 1, 2, 3, 4),),
    equations=((-3, 1, 3, 2, 0), (-3, -1, 0, 1, 3)),
)
"""Seven channels, three times each: 0 0 0 1 1 1 2 | 2 2 3 3 3 4 4 | 4 5 5 5 6 6 6."""

NESTED = Partition(
    shares=(tuple(range(8)), (8, 9, 10, 11), (12, 13, 14, 15)),
    steps=((2, 1, 1),),
    kept=((0,), (1,), (2,)),
)
"""Two halves, of which one has two halves."""


def test_a_path_leads_to_every_loss():
    wide = Partition(
        shares=((0, 1, 2), (3,), (4, 5), (6,), (7, 8, 9)),
        steps=TWENTY_ONE.steps, kept=TWENTY_ONE.kept, equations=((-3, -1, 3, 2, 0),),
    )  # fmt: skip
    for partition in (TWENTY_ONE, NESTED, wide):
        for end in _sums(partition):
            path = [(0,) * len(partition), *partition.path(end=end)]
            assert path[-1] == end
            for before, after in itertools.pairwise(path):
                assert tuple(np.subtract(after, before).tolist()) in partition.steps
            middle = path[len(path) // 2]
            assert ([middle, *partition.path(start=middle, end=end)])[-1] == end
    assert wide.path() == [(1, 0, 1, 0, 1), (2, 0, 2, 0, 2)]


def test_limits_count_steps():
    assert NESTED.path() == [(2, 1, 1), (4, 2, 2), (6, 3, 3)]
    assert legal_path(NESTED, Limits(round_to=2)) == [(4, 2, 2)]
    assert legal_path(NESTED, Limits(max_rate=0.5)) == [(2, 1, 1), (4, 2, 2)]
    assert largest_loss(NESTED, Limits(min_keep=0.5)) == (4, 2, 2)
    assert largest_loss(NESTED, Limits(round_to=4)) == (0, 0, 0)
    assert reachable(TWENTY_ONE) == {
        0: (0,) * 5, 3: (1, 0, 1, 0, 1), 4: (1, 1, 0, 1, 1),
    }  # fmt: skip
    assert nearest(TWENTY_ONE, 0.55) == (1, 1, 0, 1, 1)
    assert nearest(NESTED, 0.3) == (2, 1, 1)


def test_free_channels_beside_fixed_ones_may_all_leave():
    """One channel of two each is fixed: the others leave together, though none of them is left."""
    fixed = np.array([True, False, True, False])
    rule = Balance(np.array([[0, 1], [2, 3]]), "rule")
    (partition,) = shares_of([rule], fixed, [[0, 1], [2, 3]], 4).partitions
    assert partition.path() == legal_path(partition, NO_LIMITS) == [(1, 1)]
    assert legal_path(partition, Limits()) == [(1, 1)]


def sliced(g, x, *sizes):
    """Cut a value into parts of given sizes."""
    g.builder.layer, g.builder.scope = 0, "cut"
    return g.builder.ops("Split", x, g.builder.constant(list(sizes)), count=len(sizes), axis=1)


def test_a_channel_that_is_all_of_a_value_is_fixed():
    g = Graph()
    parts = sliced(g, g.conv("a", g.data, 3), 1, 1, 1)
    b = sliced(g, g.conv("b", g.data, 5), 1, 4)
    outputs = {f"y{k}": g.conv(f"y{k}", part, 2) for k, part in enumerate((*parts, *b))}
    groups = find_groups(g.network(**outputs))
    assert shown(groups)["a"] == "has one channel"
    assert shown(groups)["b"] == (("b",), 5, [[4]])
    assert groups.by_name("a").step == 0
    with pytest.raises(PlanError, match="channel 0 cannot be removed: it has one channel"):
        removed_units(
            Plan.from_yaml("version: 1\ngroups: [{name: b, channels: 5, removed: [0]}]"), groups
        )


def test_a_crossed_order_has_a_step_for_each_pair():
    """Quarters read in two orders by layers of two groups: 0 goes with 3, and 1 with 2."""
    g = Graph()
    wide = g.conv("w", g.data, 12)
    quarters = sliced(g, wide, 3, 3, 3, 3)
    other = g.op("turn", "Concat", *(quarters[k] for k in (0, 2, 1, 3)), axis=1)
    network = g.network(
        y=g.conv("y", wide, 4, group=2),
        z=g.conv("z", other, 4, group=2),
    )
    group = find_groups(network).by_name("w")
    (partition,) = group.partitions
    # Equal shares lose one channel each, as they always did; a plan may follow the rules exactly.
    assert partition.steps == ((1, 1, 1, 1),)
    assert partition.obeys((1, 0, 0, 1))
    assert not partition.obeys((1, 1, 0, 0))
