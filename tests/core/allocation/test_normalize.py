"""What scores of a group are divided by before all groups are ranked together."""

from __future__ import annotations

import numpy as np
import pytest

import secateur
from secateur.core.allocation.normalize import SCALES, normalized
from secateur.core.allocation.ranking import ranking
from secateur.core.coupling import find_groups
from secateur.core.errors import PlanError
from support.analysis import opened
from support.graphs import Graph


def two_groups():
    g = Graph(seed=1)
    a = g.op("relu1", "Relu", g.conv("a", g.data, 4))
    b = g.op("relu2", "Relu", g.conv("b", a, 2))
    groups = find_groups(g.network(y=g.conv("out", b, 2)))
    scores = np.zeros(groups.unit_count)
    scores[list(groups.by_name("a").units)] = [3, -4, 0, 1]
    scores[list(groups.by_name("b").units)] = [100, 20]
    return groups, scores


@pytest.mark.parametrize(
    ("how", "first", "second"),
    [
        ("none", [3, -4, 0, 1], [100, 20]),
        ("mean", [1.5, -2, 0, 0.5], [100 / 60, 20 / 60]),
        ("layer-l2", np.array([3, -4, 0, 1]) / np.sqrt(26), np.array([100, 20]) / np.sqrt(10400)),
        ("max", [0.75, -1, 0, 0.25], [1, 0.2]),
    ],
)
def test_scores_are_divided_by_the_scale_of_their_group(how, first, second):
    groups, scores = two_groups()
    found = normalized(groups, scores, how)
    np.testing.assert_allclose(found[list(groups.by_name("a").units)], first)
    np.testing.assert_allclose(found[list(groups.by_name("b").units)], second)


def test_a_group_of_zeros_stays_zero():
    groups, scores = two_groups()
    for how in SCALES:
        assert not normalized(groups, 0 * scores, how).any()


@pytest.mark.parametrize(("how", "expected"), [("none", "aaab"), ("mean", "aaba"), ("max", "aaba")])
def test_the_scale_decides_which_group_loses_first(how, expected):
    """All but one of `a` and of `b` may leave; lowest scores first, negative ones before all."""
    groups, scores = two_groups()
    order = ranking(groups, scores, how=how)
    assert "".join(groups.groups[step.group].name for step in order) == expected
    assert scores[list(order[0].units)] == [-4]


def test_the_names_of_the_option_are_those_of_the_scales():
    for name in ("auto", *SCALES):
        assert secateur.PruneOptions(rate=0.3, normalize=name).normalize == name
    with pytest.raises(PlanError, match="by auto or none or mean or layer-l2 or max, not 'sum'"):
        secateur.PruneOptions(rate=0.3, normalize="sum")


def test_a_scale_without_a_ranking_is_refused():
    network, data = opened("caffe", "shapes.npz", limit=4)
    for more in ({"allocation": "uniform"}, {}, {"criterion": "obs", "data": data}):
        asked = {"criterion": "l1", **more}
        with pytest.raises(PlanError, match="one ranking takes them all"):
            secateur.prune(network, rate=0.3, normalize="max", **asked)
