"""Layers of their own: they lose what was asked of them, and the whole rate still holds."""

from __future__ import annotations

import re

import numpy as np
import pytest

import secateur
from secateur.core.allocation import Override
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.plan.limits import Limits
from secateur.core.plan.plan import Plan, removed_units
from secateur.core.pruning.apply import apply_plan
from secateur.core.pruning.choose import choose
from secateur.core.pruning.complete import complete_plan
from secateur.core.pruning.options import PruneOptions
from secateur.core.sensitivity import analyze
from support.graphs import Graph


@pytest.fixture(scope="module")
def lenet(shared):
    folder = shared / "models/lenet_mnist"
    return secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")


@pytest.fixture(scope="module")
def detector(shared):
    folder = shared / "models/yolo_fastest_1.1_coco"
    return secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")


@pytest.fixture(scope="module")
def noise(lenet):
    return SyntheticDataset(lenet, samples=64)


def plan_of(network, groups, *, data=None, **settings):
    return choose(network, groups, PruneOptions(**settings), data=data).plan


def kept(plan):
    return {group.name: group.kept for group in plan.groups}


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "l1"},
        {"criterion": "l1", "allocation": "global"},
        {"criterion": "obs"},
        {"criterion": "obs", "allocation": "uniform"},
    ],
)
def test_a_layer_loses_its_share_and_the_rate_holds(lenet, noise, settings):
    overrides = {"conv2": Override(rate=0.2), "conv1": Override(rate=0.5)}
    plan = plan_of(lenet, find_groups(lenet), rate=0.6, overrides=overrides, data=noise, **settings)
    assert kept(plan)["conv1"] == 10
    assert kept(plan)["conv2"] == 40
    assert plan.provenance["overrides"] == {"conv2": {"rate": 0.2}, "conv1": {"rate": 0.5}}
    assert plan.provenance["rate"]["achieved"] == pytest.approx(0.6, abs=0.011)


def test_a_rate_of_nothing_keeps_a_layer(lenet, noise):
    overrides = {"conv2": Override(rate=0.0)}
    for criterion in ("l1", "obs"):
        plan = plan_of(
            lenet, find_groups(lenet), rate=0.3, overrides=overrides, data=noise,
            criterion=criterion,
        )  # fmt: skip
        assert kept(plan)["conv2"] == 50
        assert plan.provenance["rate"]["achieved"] == pytest.approx(0.3, abs=0.011)


@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_more_than_the_rate_is_refused(lenet, noise, criterion):
    with pytest.raises(PlanError, match=r"own save 0\.\d+ already, over the rate 0\.1 \(hint"):
        plan_of(
            lenet, find_groups(lenet), rate=0.1, overrides={"conv2": Override(rate=0.9)},
            criterion=criterion, data=noise,
        )  # fmt: skip


def test_multiples_hold_for_layers_of_their_own(lenet):
    plan = plan_of(
        lenet, find_groups(lenet), rate=0.5, overrides={"conv2": Override(rate=0.3)},
        limits=Limits(round_to=8),
    )  # fmt: skip
    assert kept(plan)["conv2"] == 32  # of 50, 35 were asked: 32 is nearer than 40
    assert all(count % 8 == 0 or group.removed == () for group, count in
               zip(plan.groups, kept(plan).values(), strict=True))  # fmt: skip


def test_thresholds_of_layers_follow_their_curves(lenet, noise):
    groups = find_groups(lenet)
    analysis = analyze(lenet, noise, rates=[0.1, 0.3, 0.5, 0.7, 0.9])
    curve = analysis.by_name("conv1")
    loss = float(np.median([point.loss for point in curve.points]))
    given = {"conv1": Override(threshold=loss), "ip1": Override(rate=0.1)}
    borne = plan_of(lenet, groups, threshold=loss, analysis=analysis)
    for settings in ({"rate": 0.6}, {"threshold": 0.0}, {"rate": 0.6, "allocation": "greedy"}):
        plan = plan_of(lenet, groups, analysis=analysis, overrides=given, **settings)
        assert kept(plan)["conv1"] == kept(borne)["conv1"]
        assert kept(plan)["ip1"] == 450
    with pytest.raises(PlanError, match="the threshold of 'conv1' needs an analysis"):
        plan_of(lenet, groups, rate=0.5, overrides={"conv1": Override(threshold=loss)})


def test_coupled_layers_of_a_detector_lose_together(detector):
    groups = find_groups(detector)
    group = next(g for g in groups.groups if g.prunable and len(g.layers) > 2)
    name = group.layers[-1]
    plan = plan_of(detector, groups, rate=0.3, overrides={name: Override(rate=0.25)})
    entry = next(entry for entry in plan.groups if entry.name == group.name)
    assert len(entry.removed) == sum(
        round(0.25 * min(map(len, partition)) - 1e-9) * len(partition)
        for partition in group.partitions
    )
    assert plan.provenance["rate"]["achieved"] == pytest.approx(0.3, abs=0.01)
    with pytest.raises(PlanError, match="share their channels, but are to lose different"):
        plan_of(
            detector, groups, rate=0.3,
            overrides={name: Override(rate=0.25), group.name: Override(rate=0.5)},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"conv3": {"rate": 0.5}}, "there is no layer 'conv3' that makes channels (hint: did you"),
        ({"ip2": {"rate": 0.5}}, "no channel of 'ip2' can be removed: mixed by 'prob' (Softmax)"),
        ({"conv1": {"rate": 1.0}}, "the rate of a layer must be from 0 to below 1, got 1"),
        ({"conv1": {}}, "needs a rate or a threshold, and not both"),
        ({"conv1": {"rate": 0.8}}, "no group may lose more than 0.6"),
    ],
)
def test_impossible_layers_are_refused(lenet, overrides, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        plan_of(
            lenet, find_groups(lenet), rate=0.5, limits=Limits(max_rate=0.6),
            overrides={name: Override(**values) for name, values in overrides.items()},
        )  # fmt: skip


def edited(plan: Plan, name: str, text: str) -> Plan:
    """The plan as read again after somebody replaced what it says of a group."""
    head, found, tail = plan.to_yaml().partition(f"- name: {name}\n")
    assert found
    entry, dash, rest = tail.partition("\n- name:")
    lines = [line for line in entry.splitlines() if "layers" in line or "channels" in line]
    return Plan.from_yaml(f"{head}{found}" + "\n".join([*lines, f"  {text}"]) + dash + rest)


@pytest.mark.parametrize("criterion", ["l1", "obs"])
@pytest.mark.parametrize(("text", "count"), [("kept: 24", 24), ("rate: 0.5", 25), ("kept: 50", 50)])
def test_a_plan_of_numbers_is_completed(lenet, noise, criterion, text, count):
    groups = find_groups(lenet)
    plan = plan_of(lenet, groups, rate=0.4, criterion=criterion, data=noise)
    given = edited(plan, "conv2", text)
    assert Plan.from_yaml(given.to_yaml()) == given
    dense = apply_plan(lenet, given, groups=groups, data=noise, repair=False)
    assert kept(dense.plan) == {**kept(plan), "conv2": count}
    others = [entry for entry in plan.groups if entry.name != "conv2"]
    assert [entry for entry in dense.plan.groups if entry.name != "conv2"] == others
    if count < 50:
        assert dense.plan.provenance["completed"] == ["conv2"]
        with pytest.raises(PlanError, match="group 'conv2': it is open which channels leave"):
            removed_units(given, groups)
    again = apply_plan(lenet, Plan.from_yaml(dense.plan.to_yaml()), data=noise, repair=False)
    assert kept(again.plan) == kept(dense.plan)


def test_the_lowest_channels_complete_a_plan(lenet):
    groups = find_groups(lenet)
    plan = plan_of(lenet, groups, rate=0.5, criterion="l1")
    whole = next(entry for entry in plan.groups if entry.name == "conv2")
    same, state = complete_plan(lenet, edited(plan, "conv2", f"kept: {whole.kept}"), groups)
    assert same.groups == plan.groups
    units = [unit for step in state.history for unit in step.units]
    assert sorted(units) == np.flatnonzero(state.removed).tolist()


def test_plans_that_cannot_be_completed(lenet):
    g = Graph()
    b = g.conv("b", g.conv("a", g.data, 8), 8, group=2)
    network = g.network(y=g.gemm("out", g.op("flat", "Flatten", b), 4))
    groups = find_groups(network)
    text = "version: 1\ngroups: [{name: b, channels: 8, kept: 5}]"
    with pytest.raises(PlanError, match="it cannot keep exactly 5 channels, but 6"):
        complete_plan(network, Plan.from_yaml(text), groups)
    for entry, message in (
        ("rate: 0.5, removed: [1]", "give one of removed, kept, rate"),
        ("rate: 2", "rate must be from 0 to below 1, got 2"),
        ("kept: 0", "kept must be a number from 1 to 8, got 0"),
    ):
        with pytest.raises(PlanError, match=message):
            Plan.from_yaml(f"version: 1\ngroups: [{{name: b, channels: 8, {entry}}}]")
    plan = Plan.from_yaml("version: 1\ncriterion: obs\ngroups: []")
    assert not plan.open
    with pytest.raises(PlanError, match="obs needs data"):
        complete_plan(network, Plan.from_yaml(f"criterion: obs\n{text}"), groups)
