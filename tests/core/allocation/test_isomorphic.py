"""Classes of groups with one structure, and what each of them loses."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from secateur.core.allocation import ALLOCATIONS, AllocationContext
from secateur.core.allocation.isomorphic import classes
from secateur.core.coupling import find_groups
from secateur.core.pruning.prune import prune
from support.graphs import Graph
from support.rich import rich


def towers(widths):
    """Return plain layers, residual blocks and a depthwise layer, of any widths."""
    g = Graph(channels=3, size=4)
    x = g.data
    for number, width in enumerate(widths):
        x = g.op(f"r{number}", "Relu", g.conv(f"stem{number}", x, width))
        inner = g.op(f"i{number}", "Relu", g.conv(f"in{number}", x, width + 1))
        x = g.op(f"sum{number}", "Add", x, g.conv(f"out{number}", inner, width))
    d = g.conv("deep", g.conv("wide", x, 6), 6, group=6)
    return g.network(y=g.conv("end", d, 2, kernel=1))


def test_groups_of_one_structure_are_one_class_whatever_their_width():
    network = towers((4, 7, 5))
    groups = find_groups(network)
    kind = dict(zip([group.name for group in groups.groups], classes(network, groups), strict=True))
    assert kind["in0"] == kind["in1"] == kind["in2"]
    assert kind["stem0"] == kind["stem1"]
    # The last sum is read by one layer without an activation behind, the others by ReLU's layers.
    assert len({kind[name] for name in ("in0", "stem0", "wide", "end")}) == 4


def test_a_kernel_is_part_of_the_structure():
    g = Graph(channels=3, size=4)
    x = g.data
    for number, kernel in enumerate((3, 3, 1, 3, 3, 3)):
        x = g.conv(f"l{number}", x, 5, kernel=kernel)
    network = g.network(y=g.conv("end", x, 2))
    groups = find_groups(network)
    kind = dict(zip([group.name for group in groups.groups], classes(network, groups), strict=True))
    assert kind["l3"] == kind["l4"] == kind["l5"]
    assert len({kind["l1"], kind["l2"], kind["l3"]}) == 3


def test_every_class_loses_the_same_share_by_one_ranking_of_its_groups():
    network = towers((20, 30, 25))
    groups = find_groups(network)
    scores = np.random.default_rng(0).random(groups.unit_count)
    context = AllocationContext(
        groups=groups, savings=np.ones(groups.unit_count), scores=scores, network=network
    )
    order = ALLOCATIONS["isomorphic"].order(context)
    kind = classes(network, groups)
    whole = defaultdict(int)
    for step in order:
        whole[kind[step.group]] += len(step.units)
    lost = defaultdict(int)
    for step in order[: len(order) // 2]:
        lost[kind[step.group]] += len(step.units)
    shares = [lost[number] / whole[number] for number in whole]
    assert max(shares) - min(shares) <= max(1 / count for count in whole.values()) + 1e-9
    for number in whole:
        reached = [scores[list(s.units)].mean() for s in order if kind[s.group] == number]
        assert reached == sorted(reached)
    several = [number for number in whole if kind.count(number) > 1]
    assert several, "a class of several groups"


@pytest.mark.parametrize("seed", range(2))
def test_it_meets_a_rate(seed):
    result = prune(rich(seed), rate=0.4, criterion="l2", allocation="isomorphic", repair="none")
    assert 0.3 < result.plan.provenance["rate"]["achieved"] <= 0.4
