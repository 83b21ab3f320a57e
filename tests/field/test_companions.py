"""Deploy nets pruned with a companion that has more: what is written loads together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask
from secateur.core.plan.plan import removed_units
from secateur.formats.caffe.caffemodel import open_caffemodel
from support.program import run


def shapes(path: Path) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of the blobs of each entry of a caffemodel."""
    return {layer.name: [b.shape for b in layer.blobs] for layer in open_caffemodel(path).layers}


def test_helper_heads_are_cut_with_the_net(field: Path, tmp_path: Path) -> None:
    folder = field / "companion_aux"
    deploy, weights, train_val = (
        folder / name for name in ("deploy.prototxt", "net.caffemodel", "train_val.prototxt")
    )
    network = secateur.load(deploy, weights, companions=[train_val])
    pruned = secateur.prune(network, rate=0.4)
    (note,) = (note for note in pruned.notes if "beside the network" in note)
    assert "'help_conv' (train_val.prototxt)" in note
    saved = secateur.save(pruned, tmp_path)
    kept = next(group.kept for group in pruned.plan.groups if group.name == "c1")
    assert kept < 8
    found = shapes(tmp_path / "net.caffemodel")
    assert found["c1"] == [(kept, 3, 3, 3), (kept,)]
    assert found["help_conv"] == [(4, kept, 1, 1), (4,)]
    assert found["help_fc"] == [(5, 1024), (5,)]
    text = saved.companions[0].read_text()
    assert f"num_output: {kept} kernel_size: 3" in text
    assert 'name: "help_conv" type: "Convolution" bottom: "c1" top: "help_conv" ' in text
    for name in ("train_val.prototxt", "deploy.prototxt"):
        shape = {"data": (3, 16, 16)}
        secateur.load(tmp_path / name, tmp_path / "net.caffemodel", input_shapes=shape)


def test_without_the_companion_a_note_says_what_stays(field: Path, tmp_path: Path) -> None:
    folder = field / "companion_aux"
    network = secateur.load(folder / "deploy.prototxt", folder / "net.caffemodel")
    (note,) = (n for n in network.notes if isinstance(n, secateur.Caution))
    assert "'help_conv', 'help_fc'" in note
    assert "--companion" in note
    secateur.save(secateur.prune(network, rate=0.4), tmp_path)
    assert shapes(tmp_path / "net.caffemodel")["help_conv"] == [(4, 8, 1, 1), (4,)]


def test_commands_take_the_companion(field: Path, tmp_path: Path) -> None:
    folder = field / "companion_aux"
    files = folder / "deploy.prototxt", folder / "net.caffemodel"
    given = *files, "--companion", folder / "train_val.prototxt", "--rate", 0.4
    direct, wide, dense = (tmp_path / name for name in ("direct", "wide", "dense"))
    shown = run("prune", *given, "--repair", "none", "-o", direct).stderr
    assert "'help_conv' (train_val.prototxt)" in " ".join(shown.split())
    run("prune", *given, "--repair", "none", "--mode", "sparse", "-o", wide)
    run(
        "transform", wide / "deploy.prototxt", wide / "net.caffemodel", "--repair", "none",
        "--companion", wide / "train_val.prototxt", "--plan", wide / "plan.yaml", "-o", dense,
    )  # fmt: skip
    for name in ("deploy.prototxt", "train_val.prototxt", "net.caffemodel"):
        assert (dense / name).read_bytes() == (direct / name).read_bytes()
    run("inspect", *files, "--companion", folder / "train_val.prototxt")


def test_rounds_keep_the_companion(field: Path, tmp_path: Path) -> None:
    folder = field / "companion_aux"
    network = secateur.load(
        folder / "deploy.prototxt", folder / "net.caffemodel",
        companions=[folder / "train_val.prototxt"],
    )  # fmt: skip
    values = np.random.default_rng(0).uniform(0, 255, (8, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", data=values)
    data = secateur.open_dataset(tmp_path / "data.npz", network)
    secateur.iterate(
        network, data, tmp_path / "rounds", rates=(0.2, 0.4), previous=True, criterion="l1"
    )
    for number in (1, 2):
        place = tmp_path / "rounds" / f"round-0{number}"
        found = secateur.load(
            place / "deploy.prototxt", place / "net.caffemodel",
            companions=[place / "train_val.prototxt"],
        )  # fmt: skip
        assert shapes(place / "net.caffemodel")["help_conv"][0][1] < 8
        assert len(found.companions) == 1


def test_a_companion_computes_what_its_masked_net_does(field: Path, tmp_path: Path) -> None:
    folder = field / "companion_aux"
    network = secateur.load(
        folder / "deploy.prototxt", folder / "net.caffemodel",
        companions=[folder / "train_val.prototxt"],
    )  # fmt: skip
    groups = find_groups(network)
    pruned = secateur.prune(network, rate=0.4, repair="none")
    saved = secateur.save(pruned, tmp_path)
    (after,) = secateur.load(*saved.paths, companions=saved.companions).companions
    (before,), (own,) = network.companions, groups.companions
    x = {"data": np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)}
    want = secateur.Session(mask(before, own, removed_units(pruned.plan, groups))).run(x)
    got = secateur.Session(after).run(x)
    assert want.keys() == got.keys() == {"help_loss", "loss"}
    assert all(np.allclose(got[name], want[name], atol=1e-5) for name in want)


def test_what_stands_behind_a_program_is_cut_as_well(field: Path, tmp_path: Path) -> None:
    """The deploy net ends before a Python layer; `fc` behind it reads regions of a pruned blob."""
    folder = field / "python_proposal"
    network = secateur.load(
        folder / "cut.prototxt", folder / "net.caffemodel", companions=[folder / "net.prototxt"]
    )
    pruned = secateur.prune(network, rate=0.4)
    saved = secateur.save(pruned, tmp_path)
    found = shapes(tmp_path / "net.caffemodel")
    kept = found["c2"][0][0]
    assert found["fc"] == [(10, 4 * kept), (10,)]
    assert kept < 8
    assert found["score"][0][0] == 6
    text = saved.companions[0].read_text()
    assert f'top: "c2" convolution_param {{ num_output: {kept} ' in text
    whole = secateur.load(saved.companions[0], tmp_path / "net.caffemodel")
    assert "cls" in whole.outputs
