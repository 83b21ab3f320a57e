"""Shares inside shares: shuffles, nested halves, blocks of blocks; pruned, written, verified."""

from __future__ import annotations

import json

import pytest

import secateur
from secateur.core.allocation import Override
from secateur.core.coupling import find_groups
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.plan.plan import Plan, removed_units
from secateur.core.pruning.apply import apply_plan
from support import darknet
from support.program import one_line, run
from support.random_weights import caffemodel_for


def field_net(field, name):
    folder = field / ("nested_route_groups" if name == "net.cfg" else "shuffle_shares")
    if name == "net.cfg":
        return folder / "net.cfg", folder / "net.weights"
    return folder / f"{name}.prototxt", folder / f"{name}.caffemodel"


def lost_by(paths, layer, rate, folder, **settings):
    """How many channels a layer's group loses for a rate of its own; what is written is verified.

    The files are read again. They have as many channels as the plan keeps.
    """
    network = secateur.load(*paths)
    settings = {"criterion": "l1", **settings}
    result = secateur.prune(
        network, rate=0.9, as_far_as_possible=True, overrides={layer: Override(rate=rate)},
        **settings,
    )  # fmt: skip
    assert result.verification.difference < 1e-4
    saved = secateur.save(result, folder)
    assert saved.difference < 1e-4
    groups = find_groups(network)
    (group,) = (group for group in groups.groups if layer == group.name)
    removed = removed_units(Plan.from_yaml(saved.plan.read_text()), groups)
    (produced,) = (p.labels for p in groups.producers if p.name == layer)
    again = secateur.load(*saved.paths)
    (top,) = (info.tops[0] for info in again.layers if info.name == layer)
    assert again.values()[top].shape[1] == int((~removed[groups.units[produced]]).sum())
    return int(removed[list(group.units)].sum())


@pytest.mark.parametrize(
    ("name", "layer", "rate", "lost"),
    [
        ("net21", "g1", 0.4, 3),
        ("net21", "g1", 0.6, 4),
        ("net60", "g1", 0.1, 3),
        ("net60", "g1", 0.55, 11),
        ("net60", "g1", 0.9, 17),
        ("net.cfg", "0", 0.3, 4),
        ("net.cfg", "0", 0.75, 12),
    ],
)
def test_equal_losses_are_found_and_used(field, tmp_path, name, layer, rate, lost):
    assert lost_by(field_net(field, name), layer, rate, tmp_path) == lost


@pytest.mark.parametrize("settings", [{"allocation": "uniform"}, {}])
@pytest.mark.parametrize(("name", "layer", "lost"), [("net21", "g1", 4), ("net.cfg", "0", 8)])
def test_obs_goes_by_the_steps(field, tmp_path, name, layer, lost, settings):
    paths = field_net(field, name)
    data = SyntheticDataset(secateur.load(*paths), samples=16)
    given = {"criterion": "obs", "data": data, **settings}
    assert lost_by(paths, layer, 0.55, tmp_path, **given) == lost


def test_a_group_of_which_nothing_can_leave_is_fixed(field):
    paths = field_net(field, "net")
    shown = json.loads(run("inspect", *paths, "--json").stdout)
    groups = {group["name"]: group for group in shown["groups"]}
    why = "cannot lose equally many channels from each share of 'g2' (Convolution)"
    assert groups["g1"]["fixed"] == why
    assert (groups["g1"]["removable"], groups["g1"]["step"]) == (0, 0)
    assert (groups["stem"]["fixed"], groups["stem"]["step"]) == (None, 3)
    refused = run("prune", *paths, "--rate", 0.2, "--layer-rate", "g1=0.3", "-o", "none", code=1)
    assert one_line(refused) == f"error: no channel of 'g1' can be removed: {why}"


def test_inspect_shows_how_many_leave_together(field):
    lines = run("inspect", *field_net(field, "net21")).stdout.splitlines()
    assert any(line.startswith("g1 ") and "g1 (3 of 7 at a time)" in line for line in lines)
    assert any(line.startswith("stem ") and "stem (3 of 24 at a time)" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("name", "layer", "rate", "message"),
    [
        ("net21", "g1", 0.1, "'g1' cannot lose 0.1 of its 7 channels: the nearest possible "
         "numbers are 0 and 3 (hint: a rate of 0.429)"),
        ("net.cfg", "0", 0.1, "'0' cannot lose 0.1 of its 16 channels: the nearest possible "
         "numbers are 0 and 4 (hint: a rate of 0.25)"),
        ("net60", "g1", 0.04, "'g1' cannot lose 0.04 of its 20 channels: the nearest possible "
         "numbers are 0 and 2 (hint: a rate of 0.1)"),
    ],
)  # fmt: skip
def test_a_rate_for_which_nothing_leaves_is_refused(field, name, layer, rate, message):
    network = secateur.load(*field_net(field, name))
    with pytest.raises(PlanError) as refused:
        secateur.prune(network, rate=0.2, overrides={layer: Override(rate=rate)})
    assert str(refused.value) == message
    kept = secateur.prune(
        network, rate=0.1, as_far_as_possible=True, overrides={layer: Override(rate=0)}
    )
    assert all(not entry.removed for entry in kept.plan.groups if entry.name == layer)


def test_a_rate_that_is_clearly_missed_is_told(field):
    network = secateur.load(*field_net(field, "net21"))
    result = secateur.prune(
        network, rate=0.3, as_far_as_possible=True, overrides={"g1": Override(rate=0.8)}
    )
    assert (
        "'g1' loses 4 of 7 channels, where 0.8 of them was asked: no number that it can lose is "
        "nearer"
    ) in result.notes


@pytest.mark.parametrize("kept", [16, 12, 8, 4])
def test_a_plan_may_name_every_possible_number(field, kept):
    network = secateur.load(*field_net(field, "net.cfg"))
    plan = Plan.from_yaml(f"version: 1\ngroups: [{{name: '0', channels: 16, kept: {kept}}}]")
    result = apply_plan(network, plan, repair=False)
    (entry,) = (entry for entry in result.plan.groups if entry.name == "0")
    assert entry.kept == kept


def test_plans_obey_the_steps(field):
    groups = find_groups(secateur.load(*field_net(field, "net.cfg")))
    entry = "version: 1\ngroups: [{name: '0', channels: 16, removed: [%s]}]"
    assert removed_units(Plan.from_yaml(entry % "0, 1, 8, 12"), groups).sum() == 4
    with pytest.raises(PlanError, match=r"in steps of \[2, 1, 1\], but they lose \[1, 1, 1\]"):
        removed_units(Plan.from_yaml(entry % "0, 8, 12"), groups)
    network = secateur.load(*field_net(field, "net21"))
    groups = find_groups(network)
    entry = "version: 1\ngroups: [{name: g1, channels: 7, removed: [%s]}]"
    assert removed_units(Plan.from_yaml(entry % "0, 2, 4, 5"), groups).sum() == 4
    with pytest.raises(PlanError, match="at least one channel of each layer must stay"):
        removed_units(Plan.from_yaml(entry % "0, 1, 2, 3, 4, 5, 6"), groups)
    open_ = Plan.from_yaml("version: 1\ngroups: [{name: g1, channels: 7, kept: 5}]")
    with pytest.raises(PlanError, match="it cannot keep exactly 5 channels, but 7 or 4"):
        apply_plan(network, open_)


def shuffle_block(channels, groups):
    """A block of ShuffleNet: grouped 1×1, shuffle, depthwise, grouped 1×1, sum."""
    wide = 2 * groups * 4
    return f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 8 dim: 8 }} }} }}
layer {{ name: "stem" type: "Convolution" bottom: "data" top: "stem" convolution_param {{ num_output: {wide} kernel_size: 3 pad: 1 }} }}
layer {{ name: "g1" type: "Convolution" bottom: "stem" top: "g1" convolution_param {{ num_output: {channels} kernel_size: 1 group: {groups} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "g1" top: "g1" }}
layer {{ name: "mix" type: "ShuffleChannel" bottom: "g1" top: "mix" shuffle_channel_param {{ group: {groups} }} }}
layer {{ name: "dw" type: "Convolution" bottom: "mix" top: "dw" convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 group: {channels} }} }}
layer {{ name: "g2" type: "Convolution" bottom: "dw" top: "g2" convolution_param {{ num_output: {wide} kernel_size: 1 group: {groups} }} }}
layer {{ name: "sum" type: "Eltwise" bottom: "stem" bottom: "g2" top: "sum" }}
layer {{ name: "head" type: "Convolution" bottom: "sum" top: "head" convolution_param {{ num_output: 5 kernel_size: 1 }} }}
"""  # noqa: E501


def sliced_block():
    """Res2Net in Caffe: a Slice in equal parts, a sum from one to the next, a grouped layer."""
    conv = "convolution_param {{ num_output: {} kernel_size: {} pad: {} group: {} }}"
    return "\n".join([
        'layer { name: "data" type: "Input" top: "data" input_param '
        "{ shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }",
        'layer { name: "in" type: "Convolution" bottom: "data" top: "in" '
        + conv.format(32, 1, 0, 1) + " }",
        'layer { name: "cut" type: "Slice" bottom: "in" top: "x1" top: "x2" top: "x3" top: "x4" }',
        'layer { name: "c2" type: "Convolution" bottom: "x2" top: "y2" '
        + conv.format(8, 3, 1, 2) + " }",
        'layer { name: "s3" type: "Eltwise" bottom: "x3" bottom: "y2" top: "s3" }',
        'layer { name: "c3" type: "Convolution" bottom: "s3" top: "y3" '
        + conv.format(8, 3, 1, 1) + " }",
        'layer { name: "cat" type: "Concat" bottom: "x1" bottom: "y2" bottom: "y3" bottom: "x4" '
        'top: "cat" }',
        'layer { name: "out" type: "Convolution" bottom: "cat" top: "out" '
        + conv.format(5, 1, 0, 1) + " }",
    ])  # fmt: skip


CONV = (
    "[convolutional]\nbatch_normalize=1\nfilters={}\nsize={}\npad=1\ngroups={}\nactivation=leaky\n"
)
NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"
LAST = "[convolutional]\nfilters=6\nsize=1\nactivation=linear\n"


def part(layers, groups, number):
    return f"[route]\nlayers={layers}\ngroups={groups}\ngroup_id={number}\n"


CSP = "\n".join([
    NET, CONV.format(24, 3, 1), part(-1, 2, 1), CONV.format(24, 3, 3), part(-1, 2, 1),
    CONV.format(6, 3, 2), CONV.format(6, 3, 1), "[route]\nlayers=-1,-2\n", CONV.format(12, 1, 1),
    "[route]\nlayers=-7,-1\n", LAST,
])  # fmt: skip
"""A block of YOLOv4-tiny whose convolutions have groups: thirds of a half, halves of a half."""

RES2NET = "\n".join([
    NET, CONV.format(32, 1, 1), part(-1, 4, 0), part(-2, 4, 1), CONV.format(8, 3, 2),
    part(-4, 4, 2), "[shortcut]\nfrom=-2\nactivation=linear\n", CONV.format(8, 3, 4),
    part(-7, 4, 3), "[route]\nlayers=-7,-5,-2,-1\n", LAST,
])  # fmt: skip
"""A hierarchical residual block: quarters, of which some are cut in two or four again."""


@pytest.mark.parametrize(
    ("channels", "groups", "rate", "lost"),
    [
        (96, 8, 0.3, 4),  # stage 2 of ShuffleNet with 8 groups
        (96, 8, 0.6, 8),
        (60, 3, 0.5, 9),  # with 3 groups: six of three shares, or one of two
        (120, 3, 0.5, 19),
        (30, 3, 0.7, 7),
        (68, 4, 0.5, 8),  # with 4 groups
        (24, 3, 0.4, 3),
    ],
)
def test_shuffles_of_any_width(tmp_path, channels, groups, rate, lost):
    text = shuffle_block(channels, groups)
    (tmp_path / "net.prototxt").write_text(text)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel_for(text.encode()))
    paths = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    assert lost_by(paths, "g1", rate, tmp_path / "out") == lost


def test_slices_in_equal_parts(tmp_path):
    text = sliced_block()
    (tmp_path / "net.prototxt").write_text(text)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel_for(text.encode()))
    paths = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    (group, *_) = find_groups(secateur.load(*paths)).groups
    assert group.prunable
    lost = lost_by(paths, "in", 0.4, tmp_path / "out")
    assert lost > 0
    assert lost % group.step == 0


@pytest.mark.parametrize(("cfg", "layer"), [(CSP, "0"), (CSP, "2"), (RES2NET, "0")])
def test_routes_with_groups(tmp_path, cfg, layer):
    paths = darknet.with_random_weights(tmp_path, cfg)
    groups = {group.name: group for group in find_groups(secateur.load(*paths)).groups}
    assert groups[layer].prunable, str(groups[layer].reason)
    lost = lost_by(paths, layer, 0.5, tmp_path / "out")
    assert lost > 0
    assert lost % groups[layer].step == 0
