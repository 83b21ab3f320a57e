"""Floors, and rates out of reach: no default command empties a layer to meet a number."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import yaml
from conftest import ROOT

import secateur
from secateur import Limits, PlanError
from secateur.core.allocation import ALLOCATIONS, AllocationContext
from secateur.core.allocation.registry import Allocation
from secateur.core.coupling import Groups, find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.ir.network import Network
from secateur.core.ir.windows import loosened, restored
from secateur.core.obs import schedule
from secateur.core.plan.floors import find_floors
from secateur.core.plan.plan import removed_units
from secateur.core.plan.state import PruningState
from secateur.core.plan.steps import Step, partition_steps
from secateur.core.pruning.prune import prune
from support import darknet
from support.graphs import Graph, random_removal
from support.program import one_line, run

FLOOR = 0.1


def two_lrns(field: Path, **settings: object) -> Network:
    return secateur.load(*sorted((field / "lrn_two_convs").iterdir()), **settings)


def files(field: Path) -> list[Path]:
    return sorted((field / "lrn_two_convs").iterdir())


def shared_widths() -> Network:
    """A sum of wide channels with two narrow layers side by side; a grouped convolution after."""
    g = Graph(seed=5)
    narrow = [
        g.op(f"r{n}", "Relu", g.conv(f"n{n}", g.data, width)) for n, width in ((0, 10), (1, 30))
    ]
    both = g.op("both", "Concat", *narrow, axis=1)
    x = g.op("sum", "Add", both, g.conv("wide", g.data, 40))
    x = g.op("relu", "Relu", g.conv("grouped", x, 40, group=2))
    x = g.op("pool", "MaxPool", x, kernel_shape=[4, 4], strides=[4, 4])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 4))


def two_partitions() -> Network:
    """Channels of which some go through a grouped convolution and others do not."""
    g = Graph(seed=6)
    a, b = (g.op(f"r{name}", "Relu", g.conv(name, g.data, 20)) for name in "ab")
    x = g.op("cat", "Concat", a, b, axis=1)
    grouped = g.conv("grouped", a, 20, group=2)
    x = g.op("relu", "Relu", g.conv("c", g.op("both", "Concat", x, grouped, axis=1), 24))
    x = g.op("pool", "MaxPool", x, kernel_shape=[4, 4], strides=[4, 4])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 4))


def residual_of_stages() -> Network:
    """A sum of 16 channels filled up to 48 by others: narrow sets within wide ones."""
    g = Graph(seed=7)
    first = g.op("r0", "Relu", g.conv("first", g.data, 16))
    more = g.conv("more", first, 32)
    x = g.op("sum", "Add", g.op("cat", "Concat", first, more, axis=1), g.conv("second", first, 48))
    x = g.op("pool", "MaxPool", g.op("r1", "Relu", x), kernel_shape=[4, 4], strides=[4, 4])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 4))


NETS = {"widths": shared_widths, "partitions": two_partitions, "stages": residual_of_stages}


@cache
def fixture(name: str) -> Network:
    folder = ROOT / f"fixtures/shapes_{name}"
    return secateur.load(*(path for path in folder.iterdir() if path.stem == "shapes"))


def network_of(name: str, field: Path) -> Network:
    if name in NETS:
        return NETS[name]()
    return two_lrns(field) if name == "lrn" else fixture(name)


def check_floors(groups: Groups, removed: np.ndarray, part: float = FLOOR) -> None:
    """Check groups, shares and layers, each by its own number of channels."""
    for group in groups.groups:
        assert (~removed[list(group.units)]).sum() >= part * len(group.units) - 1e-9, group.name
        for partition in group.partitions:
            for share in partition:
                units = group.members(share)
                assert (~removed[units]).sum() >= max(1, part * len(units) - 1e-9), group.name
    for producer in groups.producers:
        units = groups.distinct_units(producer.labels)
        assert (~removed[units]).sum() >= max(1, part * len(units) - 1e-9), producer.name


def removed_by(network: Network, plan: secateur.Plan) -> tuple[Groups, np.ndarray]:
    groups = find_groups(network)
    return groups, removed_units(plan, groups)


ALL = sorted({*ALLOCATIONS})
EVERY_NET = ["lrn", "caffe", "darknet", *NETS]


@pytest.mark.parametrize("net", EVERY_NET)
@pytest.mark.parametrize("allocation", ALL)
def test_no_allocation_goes_below_the_floor(allocation, net, field):
    network, entry = network_of(net, field), ALLOCATIONS[allocation]
    settings: dict = {"criterion": "l1", "allocation": allocation, "repair": "none"}
    data = SyntheticDataset(network, samples=4)
    if entry.needs_analysis:
        settings["analysis"] = secateur.analyze(network, data, rates=[0.3, 0.95], jobs=1)
    if entry.needs_data:
        settings["data"] = data
    how = (
        {"threshold": 1e9} if entry.needs_threshold else {"rate": 0.99, "as_far_as_possible": True}
    )
    pruned = prune(network, **settings, **how)
    groups, removed = removed_by(network, pruned.plan)
    assert removed.any()
    check_floors(groups, removed)
    if not entry.needs_threshold:
        assert "rate 0.99 is out of reach" in pruned.notes[0]
        assert not any("fewer channels" in note for note in pruned.notes)


@pytest.mark.parametrize(
    ("net", "how"),
    [
        ("lrn", "rate"),
        ("caffe", "rate"),
        ("widths", "rate"),
        ("widths", "uniform"),
        ("partitions", "rate"),
        ("stages", "rate"),
        ("stages", "uniform"),
        ("stages", "threshold"),
    ],
)
def test_obs_does_not_go_below_the_floor(how, net, field, monkeypatch):
    monkeypatch.setattr(schedule, "STRIDE", 0.4)
    network = network_of(net, field)
    data = SyntheticDataset(network, samples=8)
    if how == "threshold":
        pruned = prune(network, threshold=1e9, criterion="obs", data=data, repair="none")
    else:
        pruned = prune(
            network, rate=0.99, as_far_as_possible=True, criterion="obs", data=data, repair="none",
            allocation="uniform" if how == "uniform" else "auto",
        )  # fmt: skip
    groups, removed = removed_by(network, pruned.plan)
    assert removed.any()
    check_floors(groups, removed)


@pytest.mark.parametrize("net", EVERY_NET)
def test_an_allocation_that_knows_no_floors_is_held_to_them(net, field):
    """Another package may return an order of its own, down to the last channel."""

    def careless(context: AllocationContext) -> list[Step]:
        steps = partition_steps(context.groups, context.scores, Limits(min_keep=0.0))
        return [step for own in steps for step in own]

    name = f"careless {net}"
    ALLOCATIONS.add(name, entry=Allocation(name, "a test", "a test", careless))
    network = network_of(net, field)
    pruned = prune(
        network, rate=0.99, as_far_as_possible=True, allocation=name, criterion="l1", repair="none"
    )
    check_floors(*removed_by(network, pruned.plan))


@pytest.mark.parametrize("net", EVERY_NET)
@pytest.mark.parametrize("part", [0.0, 0.3])
def test_the_floor_may_be_set(net, part, field):
    network = network_of(net, field)
    pruned = prune(
        network, rate=0.99, as_far_as_possible=True, limits=Limits(min_keep=part), repair="none"
    )
    groups, removed = removed_by(network, pruned.plan)
    check_floors(groups, removed, part)
    assert pruned.plan.provenance["limits"]["min_keep"] == part
    if part == 0.0:
        with pytest.raises(AssertionError):
            check_floors(groups, removed, FLOOR)


def test_a_floor_is_no_less_than_a_multiple():
    network = shared_widths()
    limits = Limits(round_to=4)
    pruned = prune(network, rate=0.99, limits=limits, as_far_as_possible=True, repair="none")
    groups, removed = removed_by(network, pruned.plan)
    floors = find_floors(groups, limits)
    for units, least in zip(floors.sets, floors.least, strict=True):
        assert (~removed[list(units)]).sum() >= max(least, min(4, len(units)))


# -- a rate out of reach -------------------------------------------------------------------------


def refused(network: Network, rate: float, **settings: object) -> tuple[str, float]:
    """Return the message, and the rate that it offers."""
    with pytest.raises(PlanError, match="is out of reach") as found:
        prune(network, rate=rate, **settings)
    text = str(found.value)
    return text, float(re.search(r"a rate of ([\d.]+)", text)[1])


@pytest.mark.parametrize(
    ("net", "criterion", "allocation", "budget"),
    [
        *((net, "l1", "uniform", "operations") for net in EVERY_NET),
        *((net, "l1", "global", "parameters") for net in EVERY_NET),
        ("lrn", "obs", "global", "operations"),
        ("stages", "obs", "global", "operations"),
        ("stages", "obs", "uniform", "operations"),
    ],
)
def test_the_rate_that_is_offered_works(net, criterion, allocation, budget, field, monkeypatch):
    monkeypatch.setattr(schedule, "STRIDE", 0.5)
    network = network_of(net, field)
    settings: dict = {"criterion": criterion, "allocation": allocation, "budget": budget}
    if criterion == "obs":
        settings["data"] = SyntheticDataset(network, samples=8)
    _, offered = refused(network, 0.995, **settings)
    pruned = prune(network, rate=offered, repair="none", **settings)
    assert offered - 0.1 < pruned.plan.provenance["rate"]["achieved"] <= offered + 1e-9
    assert not any("out of reach" in note for note in pruned.notes)


def test_the_reasons_are_named_with_their_share_of_the_cost(field):
    text, offered = refused(two_lrns(field), 0.3)
    assert offered == 0.26
    assert "'conv2' (mixed by 'norm2' (LRN); 39.2 % of the operations)" in text
    assert text.index("'conv2'") < text.index("'conv1' (mixed by 'norm1' (LRN); 31.0 %")
    assert "'fc7'" not in text  # it costs nothing to speak of
    assert "others keep at least 10 % of their channels" in text
    assert "--lrn inexact" in text
    assert "--as-far-as-possible" in text
    text, _ = refused(two_lrns(field), 0.99, exclude=["fc6"], budget="parameters")
    assert "'fc6' (excluded; 80.4 % of the parameters)" in text


def test_nothing_is_measured_before_a_refusal(field, monkeypatch):
    network = two_lrns(field)

    class Untouched:
        name, samples, labelled, problems = "untouched", 8, False, ()

        def __iter__(self):
            raise AssertionError("data was read")

    for settings in ({}, {"criterion": "thinet"}, {"criterion": "obs", "allocation": "uniform"}):
        refused(network, 0.6, data=Untouched(), **settings)
    with pytest.raises(PlanError, match=r"rate 0\.6 is out of reach"):
        secateur.iterate(network, Untouched(), "nowhere", rates=[0.1, 0.6])
    assert not Path("nowhere").exists()


def test_steps_too_large_are_no_error():
    g = Graph(seed=1)
    x = g.op("relu", "Relu", g.conv("a", g.data, 64))
    network = g.network(y=g.gemm("out", g.op("flat", "Flatten", g.conv("b", x, 4)), 4))
    pruned = prune(network, rate=0.3, limits=Limits(round_to=32), exclude=["b"])
    assert pruned.plan.provenance["rate"]["achieved"] == 0.0
    assert (
        "0.000 is what whole channels allow: with the next step it would be more" in pruned.notes[0]
    )


def test_curves_that_leave_groups_out_limit_the_rate():
    network = fixture("caffe")
    data = SyntheticDataset(network, samples=4)
    names = [group.name for group in find_groups(network).groups if group.prunable]
    curves = secateur.analyze(network, data, rates=[0.5], exclude=names[1:], jobs=1)
    text, offered = refused(network, 0.9, analysis=curves)
    assert "left out by the analysis; " in text
    prune(network, rate=offered, analysis=curves, repair="none")


# -- what users say themselves -------------------------------------------------------------------


def test_the_rate_of_a_layer_may_go_below_and_is_told():
    network = fixture("caffe")
    name = [group.name for group in find_groups(network).groups if group.prunable][-1]
    override = {name: secateur.Override(rate=0.97)}
    for settings in ({"criterion": "l1"}, {"data": SyntheticDataset(network, samples=8)}):
        pruned = prune(network, rate=0.3, overrides=override, repair="none", **settings)
        entry = next(entry for entry in pruned.plan.groups if entry.name == name)
        assert entry.kept < FLOOR * entry.channels
        (note,) = (note for note in pruned.notes if "fewer channels stay than usual" in note)
        assert f"'{name}' {entry.kept} of {entry.channels}" in note
        again = secateur.apply_plan(network, pruned.plan, repair="none")
        assert again.notes == (note,)


def test_a_plan_of_numbers_may_go_below_and_is_told(tmp_path):
    network = fixture("darknet")
    plan = prune(network, rate=0.2, repair="none").plan.to_yaml()
    data = yaml.safe_load(plan)
    entry = data["groups"][0]
    del entry["removed"]
    entry["kept"] = 1
    found = secateur.apply_plan(
        network, secateur.Plan.from_yaml(yaml.safe_dump(data)), repair="none"
    )
    assert found.plan.groups[0].kept == 1
    assert f"'{entry['name']}' 1 of {entry['channels']}" in found.notes[0]


# -- rounds --------------------------------------------------------------------------------------


def test_rounds_keep_the_floor_of_the_original(tmp_path):
    network = fixture("caffe")
    data = secateur.open_dataset(ROOT / "fixtures/shapes.npz", network, limit=8)
    settings = {"criterion": "l1", "repair": "none"}
    _, most = refused(network, 0.999, **settings)
    found = secateur.iterate(
        network, data, tmp_path / "out", rates=[most / 2, most * 0.9, most], previous=True,
        max_drop=100, **settings,
    )  # fmt: skip
    assert len(found.rounds) == 3
    last = secateur.load(*(tmp_path / "out/round-03").glob("shapes.*"))
    widths = {group.name: len(group.units) for group in find_groups(network).groups}
    for group in find_groups(last).groups:
        assert len(group.units) >= FLOOR * widths[group.name], group.name


def test_rounds_out_of_reach_lose_nothing(tmp_path, field):
    network = two_lrns(field)
    data = SyntheticDataset(network, samples=4)
    secateur.iterate(network, data, tmp_path / "out", rates=[0.1])
    with pytest.raises(PlanError, match=r"rate 0\.6 is out of reach"):
        secateur.iterate(network, data, tmp_path / "out", rates=[0.1, 0.6], restart=True)
    assert (tmp_path / "out/round-01/plan.yaml").exists()


# -- commands ------------------------------------------------------------------------------------


def test_the_command_ends_with_1_and_with_0_as_far_as_possible(field, tmp_path):
    arguments = ("prune", *files(field), "--rate", 0.6, "-o", tmp_path / "out")
    line = one_line(run(*arguments, code=1))
    assert line.startswith("error: rate 0.6 is out of reach, 0.269 is the most: fixed are")
    assert not (tmp_path / "out").exists()
    told = run(*arguments, "--as-far-as-possible", code=0).stderr
    assert "warning: rate 0.6 is out of reach" in told
    plan = yaml.safe_load((tmp_path / "out/plan.yaml").read_text())
    assert all(entry["kept"] >= FLOOR * entry["channels"] for entry in plan["groups"])


# -- LRN -----------------------------------------------------------------------------------------

CFG = """
[net]
width=12
height=12
channels=3
[convolutional]
filters=24
size=3
pad=1
activation=leaky
[normalization]
size=5
alpha=0.1
[convolutional]
filters=16
size=3
pad=1
activation=leaky
[connected]
output=3
activation=linear
"""


def lrn_nets(field: Path, folder: Path) -> dict[str, Network]:
    cfg = darknet.with_random_weights(folder, CFG)
    caffe = two_lrns(field)
    secateur.save(caffe, folder / "net.onnx")
    loose = {"lrn": "inexact"}
    return {
        "caffe": two_lrns(field, **loose),
        "darknet": secateur.load(*cfg, **loose),
        "onnx": secateur.load(folder / "net.onnx", **loose),
    }


KINDS = ["caffe", "darknet", "onnx"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_channels_leave_through_an_inexact_lrn(kind, criterion, field, tmp_path):
    network = lrn_nets(field, tmp_path)[kind]
    data = SyntheticDataset(network, samples=16) if criterion == "obs" else None
    pruned = prune(network, rate=0.5, criterion=criterion, data=data)
    found = pruned.plan.provenance["not_exact"]
    assert pruned.plan.provenance["lrn"] == "inexact"
    assert 1e-6 < found["difference"] < 1
    assert any(note.startswith("not exact through '") for note in pruned.notes)
    assert pruned.verification.difference < 1e-4
    saved = secateur.save(pruned, tmp_path / "out")
    assert saved.difference < 5e-5
    # The files hold the LRN of their format: read plainly they compute what the dense one does.
    again = secateur.load(*saved.paths)
    data = SyntheticDataset(network, samples=4)
    assert secateur.compare(pruned.network, again, data).within(5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_another_reading_of_lrn_computes_the_same(kind, field, tmp_path):
    loose = lrn_nets(field, tmp_path)[kind]
    plain = restored(loose)
    data = SyntheticDataset(loose, samples=4)
    assert secateur.compare(loose, plain, data).within(1e-5)
    assert loosened(loose) is loose
    operators = [[node.op_type for node in net.graph] for net in (loose, plain)]
    assert "LRN" not in operators[0]
    assert ("LRN" in operators[1]) == (kind != "darknet")


@pytest.mark.parametrize("kind", KINDS)
def test_curves_see_what_an_inexact_lrn_does(kind, field, tmp_path):
    network = lrn_nets(field, tmp_path)[kind]
    data = SyntheticDataset(network, samples=8)
    groups = find_groups(network)
    curves = secateur.analyze(network, data, rates=[0.4], jobs=1)
    assert len(curves.groups) == sum(group.prunable for group in groups.groups)
    for curve in curves.groups:
        group, (point,) = groups.by_name(curve.name), curve.points
        removed = groups.mask(group.units[place] for place in curve.order[: point.removed])
        dense = PruningState.start(network, groups).after(removed).dense()
        found = secateur.fidelity(network, dense, data)
        real = found.divergence if curves.metric.startswith("KL") else found.error
        assert point.loss == pytest.approx(real, rel=1e-3, abs=1e-5)


def lrn_everywhere() -> Network:
    """LRN behind a concatenation, a sum, a depthwise and a grouped convolution."""
    g = Graph(seed=8)

    def lrn(name: str, x: ir.Value, size: int) -> ir.Value:
        return g.op(name, "LRN", x, size=size, alpha=0.5)

    a, b = (
        g.op(f"r{name}", "Relu", g.conv(name, g.data, width))
        for name, width in (("a", 6), ("b", 9))
    )
    x = lrn("l0", g.op("cat", "Concat", a, lrn("l1", b, 3), axis=1), 5)
    x = lrn("l2", g.op("sum", "Add", x, g.conv("c", g.data, 15)), 3)
    x = lrn("l3", g.conv("deep", x, 15, group=15), 3)
    x = lrn("l4", g.conv("grouped", g.conv("d", x, 12), 12, group=3), 7)
    x = g.op("pool", "MaxPool", x, kernel_shape=[4, 4], strides=[4, 4])
    return g.network(y=g.gemm("out", g.op("flat", "Flatten", x), 4))


def test_windows_close_up_alike_in_masked_and_dense_networks():
    plain = lrn_everywhere()
    network = loosened(plain)
    data = SyntheticDataset(network, samples=4)
    assert secateur.compare(plain, network, data).within(1e-5)
    groups = find_groups(network)
    random = np.random.default_rng(0)
    for _ in range(5):
        state = PruningState.start(network, groups).after(random_removal(groups, random))
        masked, dense = state.masked(), state.dense()
        assert secateur.compare(masked, dense, data).within(1e-5)
        assert secateur.compare(state.expanded(dense), dense, data).within(1e-5)
        assert not secateur.compare(state.masked(close_up=False), dense, data).within(1e-5)
        again = state.with_weights(dense)  # removed further, the windows are those of the original
        further = again.after(again.removed | random_removal(groups, random))
        if _legal(groups, further.removed):
            assert secateur.compare(further.masked(), further.dense(), data).within(1e-5)


def _legal(groups: Groups, removed: np.ndarray) -> bool:
    return all(not removed[list(kept)].all() for kept in groups.kept_units) and all(
        len({int(removed[group.members(share)].sum()) for share in partition}) == 1
        for group in groups.groups
        for partition in group.partitions
    )


def test_a_darknet_lrn_keeps_as_many_channels_as_darknet_needs(tmp_path):
    network = secateur.load(*darknet.with_random_weights(tmp_path, CFG), lrn="inexact")
    pruned = prune(
        network, rate=0.99, limits=Limits(min_keep=0.0), as_far_as_possible=True, repair="none"
    )
    assert pruned.plan.groups[0].kept == 3  # of size 5, Darknet reads channel 2
    secateur.save(pruned, tmp_path / "out")
    places = ", ".join(map(str, range(22)))
    text = f"version: 1\ngroups: [{{name: '0', channels: 24, removed: [{places}]}}]"
    name = pruned.plan.groups[0].name
    with pytest.raises(PlanError, match="at least 3 channels must stay"):
        secateur.apply_plan(network, secateur.Plan.from_yaml(text.replace("'0'", repr(name))))


def test_without_a_removal_through_it_nothing_is_said(field):
    pruned = prune(two_lrns(field, lrn="inexact"), rate=0.1, exclude=["conv1", "conv2"])
    assert "not_exact" not in pruned.plan.provenance
    assert not pruned.notes


def test_a_plan_remembers_that_lrn_was_inexact(field, tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    arguments = ("--rate", 0.6, "--lrn", "inexact", "--repair", "none", "-o", one)
    told = run("prune", *files(field), *arguments, code=0).stderr
    assert "not exact through 'norm1', 'norm2'" in told
    run(
        "transform",
        *files(field),
        "--plan",
        one / "plan.yaml",
        "--repair",
        "none",
        "-o",
        two,
        code=0,
    )
    for name in ("net.prototxt", "net.caffemodel"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    kept = prune(two_lrns(field), plan=secateur.load_plan(one / "plan.yaml"), repair="none")
    assert any(note.startswith("not exact through") for note in kept.notes)


def test_rounds_from_the_previous_one_stay_inexact(field, tmp_path):
    network = two_lrns(field, lrn="inexact")
    data = SyntheticDataset(network, samples=8)
    found = secateur.iterate(
        network, data, tmp_path / "out", rates=[0.3, 0.6], previous=True, criterion="l1",
        repair="none",
    )  # fmt: skip
    assert [entry.achieved for entry in found.rounds] == pytest.approx([0.3, 0.6], abs=0.02)
    assert all(entry.notes[0].startswith("not exact through") for entry in found.rounds)
    data_again = secateur.iterate(
        network, data, tmp_path / "out", rates=[0.3, 0.6], previous=True, criterion="l1",
        repair="none",
    )  # fmt: skip
    assert data_again == found


def test_zeros_in_place_of_channels_do_not_go_with_it(field):
    with pytest.raises(PlanError, match="computes another LRN than the dense one"):
        prune(two_lrns(field, lrn="inexact"), rate=0.3, sparse=True)


def test_inspect_says_what_the_option_would_free(field):
    assert (
        "2 can be pruned; 2 more with --lrn inexact" in run("inspect", *files(field), code=0).stdout
    )
    with pytest.raises(PlanError, match=r"mixed by 'norm1' \(LRN\) \(hint: --lrn inexact\)"):
        prune(two_lrns(field), rate=0.1, overrides={"conv1": secateur.Override(rate=0.5)})
