"""Plans: written, read, checked against the network, and refused with words."""

from __future__ import annotations

import re

import numpy as np
import pytest

from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.plan.plan import Plan, PlanGroup, removed_units
from secateur.core.pruning.apply import apply_plan
from secateur.core.pruning.choose import choose
from secateur.core.pruning.options import PruneOptions
from secateur.core.pruning.prune import prune
from secateur.core.verify.small_input import NOISE_SAMPLES
from support.graphs import Graph, weights


def network():
    g = Graph()
    a = g.conv("a", g.data, 8)
    b = g.conv("b", a, 8, group=2)
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", b), 4))


def plan_of(*removed: int, name: str = "b", channels: int = 8) -> Plan:
    return Plan(groups=(PlanGroup(name=name, layers=("b",), channels=channels, removed=removed),))


def test_a_plan_survives_the_file():
    plan = prune(network(), rate=0.3).plan
    assert Plan.from_yaml(plan.to_yaml()) == plan


def test_the_same_command_gives_the_same_text():
    assert prune(network(), rate=0.3).plan.to_yaml() == prune(network(), rate=0.3).plan.to_yaml()


def test_a_plan_edited_by_hand_is_carried_out():
    dense = apply_plan(network(), plan_of(1, 2, 5, 7)).network
    assert weights(dense)["b/weight"] == (4, 4, 3, 3)


def test_data_of_its_own_verifies_and_repairs_a_removal_that_is_known():
    net = network()
    groups, data = find_groups(net), SyntheticDataset(net, samples=20)
    plain = choose(net, groups, PruneOptions(rate=0.3))
    settled = choose(net, groups, PruneOptions(rate=0.3), data=data)
    without = apply_plan(net, settled.plan, groups=groups, state=settled.state)
    assert without.verification.inputs == "noise"
    assert without.verification.samples == NOISE_SAMPLES
    given = apply_plan(net, plain.plan, groups=groups, state=plain.state, data=data)
    assert given.verification.samples == 20
    assert [record.method for record in given.repairs][:2] == ["absorb", "refit"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (plan_of(0, 4, name="nobody"), "group 'nobody': the network has no such group"),
        (plan_of(0, 4, channels=9), "counts 9 channels, the network 8"),
        (plan_of(0), r"lose equally many channels, but they lose \[0, 1\]"),
        (plan_of(*range(8)), "at least one channel of each layer must stay"),
        (
            Plan(groups=(PlanGroup(name="out", layers=(), channels=4, removed=(1,)),)),
            "channel 1 cannot be removed: it feeds output 'y'",
        ),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(plan, message):
    with pytest.raises(PlanError, match=message):
        removed_units(plan, find_groups(network()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\ngroups: [", "line 2: not valid YAML"),
        ("[]", "a mapping with a list of groups"),
        ("version: 2\ngroups: []", "version must be 1, got 2"),
        ("version: 1\ngroups: [{channels: 3}]", "group number 1: a group needs a name"),
        ("version: 1\ngroups: [{name: a, channels: -3}]", "channels must be a positive number"),
        (
            "version: 1\ngroups: [{name: a, channels: 3, removed: [3]}]",
            "removed must name channels from 0 to 2",
        ),
        (
            "version: 1\ngroups: [{name: a, channels: 3, kept: 3, removed: [1]}]",
            "kept says 3, but 3 channels less 1 removed leave 2",
        ),
        (
            "version: 1\ngroups: [{name: a, channels: 3}, {name: a, channels: 3}]",
            "'a' stands twice",
        ),
    ],
)
def test_a_broken_plan_is_refused(text, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        Plan.from_yaml(text)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(PlanError, match="the rate must be from 0 to below 1"):
        prune(network(), rate=rate)


def test_excluded_layers_keep_all_channels():
    pruned = prune(network(), rate=0.3, exclude=["a"]).network
    assert weights(pruned)["a/weight"][0] == 8
    assert weights(pruned)["b/weight"][0] < 8
    with pytest.raises(PlanError, match="cannot exclude 'z': the network has no such layer"):
        prune(network(), rate=0.3, exclude=["z"])


def test_an_unknown_criterion_is_refused():
    with pytest.raises(PlanError, match="unknown criterion 'l7'"):
        prune(network(), rate=0.3, criterion="l7")


def test_a_network_without_anything_to_remove_is_refused():
    g = Graph()
    with pytest.raises(PlanError, match="no channel of this network can be removed"):
        prune(g.network(y=g.conv("a", g.data, 4)), rate=0.3)


def test_l1_takes_the_smallest_filters():
    net = network()
    pruned = prune(net, rate=0.2, exclude=["b"], criterion="l1")
    filters = net.graph.initializers["a/weight"].const_value.numpy()
    norms = np.abs(filters).sum(axis=(1, 2, 3))
    removed = pruned.plan.groups[0].removed
    for share in (range(4), range(4, 8)):  # layer b reads a in two shares
        gone = [k for k in removed if k in share]
        assert gone == sorted(sorted(share, key=lambda k: norms[k])[: len(gone)])
