"""Dropping blocks in the workflows: plans, rates, repairs, rounds, teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.blocks import dropped, find_blocks, named_blocks
from secateur.core.data import SyntheticDataset
from secateur.core.finetune.lessons import Lessons
from secateur.core.ir.network import Network
from secateur.core.plan.blocks import blocks_left, named_as_without, without_blocks
from secateur.core.plan.state import PruningState
from secateur.core.recovery import FeatureMeter, choose_blocks, shares_of
from secateur.core.repair.output_error import output_error
from secateur.core.repair.refit import refit, refit_beside
from support.residual import conv, darknet, onnx_net, outputs, section, silenced, three_blocks


def cfg(folder: Path) -> Network:
    """Four blocks in a row, of the same size: their layers are told apart by numbers alone."""
    block = conv() + conv(activation="linear") + section("shortcut", **{"from": -3})
    body = conv() + block * 4 + conv(filters=6) + conv(filters=5, norm=0, activation="linear")
    return darknet(folder, body)


def data_of(network: Network, samples: int = 60) -> SyntheticDataset:
    return SyntheticDataset(network, samples=samples, seed=5)


@pytest.mark.parametrize("make", [three_blocks, cfg, onnx_net])
def test_a_plan_drops_the_same_blocks_again(make, tmp_path: Path) -> None:
    network = make(tmp_path)
    block = find_blocks(network)[1]
    result = secateur.prune(network, drop_blocks=(block.name,), rate=0.4, repair=False)
    assert result.plan.dropped is not None
    assert [entry.name for entry in result.plan.dropped.blocks] == [block.name]
    saved = secateur.save(result, tmp_path / "out")
    assert saved.plan is not None
    plan = secateur.load_plan(saved.plan)
    assert plan == result.plan
    assert plan.to_yaml() == saved.plan.read_text()
    again = secateur.prune(network, plan=plan, repair=False)
    for other in (again, secateur.densify(network, plan, repair="none")):
        for mine, theirs in zip(outputs(other.network), outputs(result.network), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert other.plan.dropped == plan.dropped


@pytest.mark.parametrize("make", [three_blocks, cfg, onnx_net])
def test_the_plan_tells_whether_its_blocks_are_there(make, tmp_path: Path) -> None:
    network = make(tmp_path)
    result = secateur.prune(network, drop_blocks=(find_blocks(network)[0].name,))
    saved = secateur.save(result, tmp_path / "out")
    small = secateur.load(*saved.paths)
    assert len(blocks_left(network, result.plan)) == 1
    assert blocks_left(small, result.plan) == ()
    assert secateur.carried_out(small, result.plan)
    assert not secateur.carried_out(network, result.plan)
    assert without_blocks(small, result.plan) is small


def test_a_plan_of_another_network_is_refused(tmp_path: Path) -> None:
    plan = secateur.prune(cfg(tmp_path), drop_blocks="3,").plan
    (tmp_path / "b").mkdir()
    body = conv() + conv() + conv(activation="linear") + section("shortcut", **{"from": -3})
    other = darknet(tmp_path / "b", body + conv())
    with pytest.raises(secateur.PlanError, match="the plan drops blocks of a network in which 11"):
        secateur.prune(other, plan=plan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("blocks:\n  - name: one", "blocks: []\n  - name: one"), "not valid YAML"),
        (("before: 8", "before: x"), "layers_with_weights are two numbers"),
        (("layers_with_weights:", "weights:"), "it holds layers_with_weights"),
        (("layers: [one_a, one_a_relu, one_b]", "layers: []"), "a block has a name and a list"),
        (("one_a_relu", "two_a"), "has other layers here than in the plan"),
    ],
)
def test_broken_plans(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    network = three_blocks(tmp_path)
    text = secateur.prune(network, drop_blocks="one").plan.to_yaml().replace(*change, 1)
    network_again = secateur.load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    with pytest.raises(secateur.PlanError, match=message):
        secateur.prune(network_again, plan=secateur.Plan.from_yaml(text))


def test_a_sparse_model_has_lost_its_blocks_already(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    result = secateur.prune(network, drop_blocks="6,", rate=0.5, sparse=True, repair=False)
    dense = secateur.prune(network, drop_blocks="6,", rate=0.5, repair=False)
    saved = secateur.save(result, tmp_path / "sparse")
    sparse = secateur.load(*saved.paths)
    assert len(sparse.layers) == len(network.layers) - 3
    found = secateur.densify(sparse, secateur.load_plan(tmp_path / "sparse" / "plan.yaml"))
    for mine, theirs in zip(outputs(found.network), outputs(dense.network), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_blocks_and_channels_meet_the_rate_together(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    result = secateur.prune(network, drop_blocks="3,", rate=0.5, repair=False)
    counts = [
        secateur.measure_cost(one, secateur.find_groups(one)).operations
        for one in (network, result.network)
    ]
    achieved = result.plan.provenance["rate"]["achieved"]
    assert achieved == pytest.approx(1 - counts[1] / counts[0], abs=1e-5)
    assert 0.4 < achieved <= 0.51


def test_layers_keep_their_wishes_under_new_numbers(tmp_path: Path) -> None:
    """Layer 10 is layer 7 behind the hole; what was said of 10 holds for that one."""
    network = cfg(tmp_path)
    kept = secateur.prune(network, drop_blocks="3,", rate=0.4, exclude=("10",), repair=False)
    entry = next(group for group in kept.plan.groups if "7" in group.layers)
    assert entry.removed == ()
    halved = secateur.prune(
        network, drop_blocks="3,", rate=0.4, repair=False,
        overrides={"10": secateur.Override(rate=0.5)},
    )  # fmt: skip
    entry = next(group for group in halved.plan.groups if "7" in group.layers)
    assert len(entry.removed) == entry.channels // 2
    with pytest.raises(secateur.PlanError, match="'1' of it is to stay"):
        secateur.prune(network, drop_blocks="3,", exclude=("1",))
    with pytest.raises(secateur.PlanError, match=r"no channel of it can|is to stay"):
        secateur.prune(
            network, drop_blocks="3,", rate=0.4, overrides={"3": secateur.Override(rate=0.5)}
        )


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"drop_blocks": 4}, "4 blocks cannot be dropped: 3 may leave"),
        ({"drop_blocks": 1}, "blocks are chosen by what they lose on data"),
        ({"drop_blocks": "auto"}, "a rate says how much leaves"),
        ({"drop_blocks": 0}, "at least one block"),
        ({"drop_blocks": ()}, "no block is named"),
        ({"drop_blocks": (1, 2)}, "named by the names of layers"),
        ({"drop_blocks": 1, "threshold": 0.1}, "a threshold does not say how much blocks may lose"),
        ({"drop_blocks": "onee"}, "no such layer.*did you mean one"),
        ({"drop_blocks": "one_a"}, "no residual block that may leave ends.*one, two, three"),
        (
            {"drop_blocks": "one", "overrides": {"fc": secateur.Override(rate=0.1)}},
            "need a rate for the whole",
        ),
        ({"rate": 0.2, "threshold": 0.1}, "give one of a rate"),
        ({}, "give one of a rate"),
    ],
)
def test_refusals(wish: dict[str, object], message: str, tmp_path: Path) -> None:
    network = three_blocks(tmp_path)
    with pytest.raises(secateur.PlanError, match=message):
        secateur.prune(network, **wish)


def test_a_number_may_have_been_meant_as_a_name(tmp_path: Path) -> None:
    with pytest.raises(secateur.PlanError, match="'6,' names layer 6"):
        secateur.prune(cfg(tmp_path), drop_blocks=6)


def test_rounds_drop_blocks_once(tmp_path: Path) -> None:
    """From one network to the next, or from the original: plans count from the original."""
    network = cfg(tmp_path)
    data = data_of(network, 24)
    for previous in (True, False):
        folder = tmp_path / str(previous)
        came_to = secateur.iterate(
            network, data, folder, rates=(0.3, 0.5), previous=previous, drop_blocks="3,",
            criterion="l1", repair="none",
        )  # fmt: skip
        assert [entry.achieved for entry in came_to.rounds] == sorted(
            entry.achieved for entry in came_to.rounds
        )
        last = secateur.load(*sorted((folder / "round-02").glob("model.*")))
        plan = secateur.load_plan(folder / "round-02" / "plan.yaml")
        assert plan.dropped is not None
        again = secateur.densify(network, plan, repair="none").network
        assert secateur.carried_out(last, plan)
        for mine, theirs in zip(outputs(again), outputs(last), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)


def test_repairs_beside_the_hole_bring_features_back(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    data = data_of(network)
    groups = secateur.find_groups(network)
    state = dropped(network, named_blocks(network, ["6"]))
    meter = FeatureMeter.of(network, groups, data)
    start = PruningState.start(network, groups, data)
    plain = meter.error(state.network, state.becomes)
    adapted = meter.error(meter.adapted(state), state.becomes)
    behind = meter.error(refit_beside(start, state.network), state.becomes)
    assert adapted < 0.7 * plain
    assert adapted < behind  # what the layer before the hole adds
    whole = refit(start, state.network)
    assert output_error(network, whole, data) < 0.7 * output_error(network, state.network, data)


def test_a_block_that_a_linear_map_replaces_is_recovered_exactly(tmp_path: Path) -> None:
    """A branch without an activation is linear: the convolution before the hole takes it over."""
    branch = conv(size=1, activation="linear") * 2 + section("shortcut", **{"from": -3})
    body = conv(size=1, activation="linear") + branch + conv(filters=5) + conv(filters=3)
    network = darknet(tmp_path, body)
    (loss,) = secateur.measure_blocks(network, data_of(network))
    assert loss.error < 1e-6
    result = secateur.prune(network, drop_blocks=1, data=data_of(network))
    assert output_error(network, result.network, data_of(network)) < 1e-3


def test_what_adds_nothing_leaves_first(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    blocks = find_blocks(network)
    idle = silenced(network, blocks[2:3])
    losses = secateur.measure_blocks(idle, data_of(idle))
    assert losses[0].block.name == blocks[2].name
    assert losses[0].error < 1e-4 < losses[1].error
    assert [loss.rank for loss in losses] == sorted(loss.rank for loss in losses)
    result = secateur.prune(idle, drop_blocks=1, data=data_of(idle))
    assert result.plan.dropped is not None
    assert result.plan.dropped.blocks[0].name == blocks[2].name
    (chosen,) = result.plan.provenance["blocks"]["chosen"]
    assert chosen["block"] == blocks[2].name


def test_auto_drops_what_channels_cannot_beat_and_no_more(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    blocks = find_blocks(network)
    idle = silenced(network, blocks[1:2])
    result = secateur.prune(idle, drop_blocks="auto", rate=0.35, data=data_of(idle))
    assert result.plan.dropped is not None
    assert blocks[1].name in [entry.name for entry in result.plan.dropped.blocks]
    assert result.plan.provenance["rate"]["achieved"] <= 0.36
    small = secateur.prune(idle, drop_blocks="auto", rate=0.05, data=data_of(idle))
    assert small.plan.dropped is None
    assert any("no block was dropped" in note for note in small.notes)


def test_never_more_than_the_rate(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    groups = secateur.find_groups(network)
    meter = FeatureMeter.of(network, groups, data_of(network))
    shares = shares_of(network, groups)
    choice = choose_blocks(meter, find_blocks(network), shares, count=4, rate=0.5)
    assert 0 < choice.saved <= 0.505
    assert len(choice.blocks) < 4
    assert "rate" in choice.ended


def test_a_teacher_bears_the_names_of_the_student(tmp_path: Path) -> None:
    network = cfg(tmp_path)
    result = secateur.prune(network, drop_blocks="3,6", rate=0.5, repair=False)
    saved = secateur.save(result, tmp_path / "out")
    student = secateur.load(*saved.paths)
    teacher = named_as_without(network, result.plan)
    assert list(teacher.outputs) == list(student.outputs)
    for mine, theirs in zip(outputs(teacher), outputs(network), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # the student's layer 0 stands where the teacher has added both blocks
    kept = named_blocks(network, ["3", "6"])[-1].total
    first = str(student.layers[0].tops[0])
    feeds = {"data": np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    (mine,) = secateur.Session(teacher, fetch=[first]).run(feeds).values()
    (theirs,) = secateur.Session(network, fetch=[kept]).run(feeds).values()
    np.testing.assert_array_equal(mine, theirs)
    lessons = Lessons(teacher=network, plan=result.plan).with_names(student)
    assert lessons.teacher is not network
    assert lessons.whole is not None
    assert len(lessons.whole.layers) == len(student.layers)
