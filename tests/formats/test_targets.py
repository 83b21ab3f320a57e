"""Targets: those that come with the program, and files of users."""

from __future__ import annotations

from pathlib import Path

import pytest

import secateur
from secateur.core.errors import PlanError
from secateur.formats.target_files import FOLDER, find_target, load_target, target_names

DPU = {512: 8, 800: 10, 1024: 8, 1152: 12, 1600: 10, 2304: 12, 3136: 14, 4096: 16}
"""Channels of inputs and of outputs that each architecture computes at once: PG338."""


def test_every_number_has_a_source():
    assert len(target_names()) == 16
    for name in target_names():
        target = find_target(name)
        assert target.name == name
        assert target.summary
        assert target.readers
        assert target.sources
        if max(target.blocks) == 1:
            assert any(text.startswith("blocks of channels") for text in target.missing)


@pytest.mark.parametrize("size", DPU)
def test_the_architectures_of_the_dpu(size):
    assert find_target(f"dpu-b{size}").blocks == (DPU[size], DPU[size])


def test_a_file_of_a_user(tmp_path: Path):
    path = tmp_path / "chip.yaml"
    path.write_text(
        "name: chip\noutputs: 32\nreaders:\n  caffe: vendor tool 3.1\n"
        "refuses: {caffe: [Axpy, Power]}\nsources: a manual\n"
    )
    target = find_target(path)
    assert target.blocks == (1, 32)
    assert target.refuses == {"caffe": ("Axpy", "Power")}
    assert target.sources == ("a manual",)
    assert target == find_target(str(path))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("- 1\n", None, "a target is a mapping"),
        ("", None, "a target is a mapping"),
        ("name: a\ninputs: 8\noutpts: 8\n", 3, "did you mean outputs"),
        ("name: a\ninputs: eight\n", 2, "whole number"),
        ("name: a\ninputs: 0\n", 2, "1 to 4096"),
        ("name: a\n\noutputs: 5000\n", 3, "1 to 4096"),
        ("name: a\ninputs: 8\ninputs: 8\n", 3, "twice"),
        ("name: [a]\ninputs: 8\n", 1, "must be a text"),
        ("inputs: 8\n", None, "needs a name"),
        ("name: a\n", None, "needs its blocks"),
        ("name: a\ninputs: 8\nrefuses:\n  cafe: [Axpy]\n", 4, "is no format"),
        ("name: a\ninputs: 8\nrefuses:\n  caffe: {a: b}\n", 4, "list of texts"),
        ("name: a\ninputs: 8\nreaders: all\n", 3, "must be a mapping"),
        ("name: a\ninputs: [8\n", 3, "not valid YAML"),
        ("a: " + "[" * 100_000, None, "nested too deep"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text, line, message):
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=message) as caught:
        load_target(path)
    assert caught.value.where.file == str(path)
    if line is not None:
        assert caught.value.where.line == line


def test_a_huge_file_is_not_read(tmp_path: Path):
    path = tmp_path / "chip.yaml"
    path.write_text("#" * (1 << 21))
    with pytest.raises(PlanError, match="too large"):
        load_target(path)


def test_no_file_and_no_name(tmp_path: Path):
    with pytest.raises(PlanError, match="cannot be read"):
        find_target(tmp_path / "none.yaml")
    with pytest.raises(PlanError, match="did you mean ncnn"):
        find_target("ncn")


def test_a_target_has_its_own_budget():
    target = find_target("mnn")
    assert secateur.PruneOptions(rate=0.5, target=target).counted == "target"
    for budget in ("parameters", "latency", "convolutions"):
        with pytest.raises(PlanError, match="its own cost"):
            secateur.PruneOptions(rate=0.5, target=target, budget=budget)
    with pytest.raises(PlanError, match="needs a target"):
        secateur.PruneOptions(rate=0.5, budget="target")


def test_layers_that_a_target_cannot_take(shared):
    folder = shared / "models/yolo_fastest_1.1_coco"
    network = secateur.load(folder / "yolo-fastest-1.1.cfg", folder / "yolo-fastest-1.1.weights")
    assert not secateur.refused_layers(network, find_target("ncnn"), "net.cfg")
    chip = secateur.Target(name="chip", refuses={"darknet": ("upsample",)})
    (told,) = secateur.refused_layers(network, chip, "net.cfg")
    lines = (folder / "yolo-fastest-1.1.cfg").read_text().splitlines()
    assert told.startswith(f"net.cfg:{1 + lines.index('[upsample]')}: ")
    (told,) = secateur.refused_layers(network, find_target("mnn"))
    assert "reads caffe, not darknet" in told


def test_files_of_targets_are_in_the_package():
    assert sorted(path.suffix for path in FOLDER.iterdir()) == [".yaml"] * 16
