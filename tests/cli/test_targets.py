"""`secateur targets`, and `--target` on other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import secateur
from support.program import told as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]


def test_the_list_names_all():
    assert all(name in run("targets")[0] for name in secateur.target_names())
    found = json.loads(run("targets", "--json")[0])
    assert [one["name"] for one in found] == list(secateur.target_names())


def test_what_is_shown_of_one_is_a_file_of_a_target(tmp_path):
    assert "PG338" in run("targets", "dpu-b1152")[0]
    path = tmp_path / "copy.yaml"
    path.write_text(run("targets", "dpu-b1152", "--json")[0])
    assert secateur.find_target(path) == secateur.find_target("dpu-b1152")


def test_the_written_model_costs_what_the_plan_names(tmp_path):
    out, _ = run("prune", *CAFFE, "--rate", 0.4, "--target", "ncnn", "-o", tmp_path / "out")
    assert "Cost, ncnn" in out
    chip = secateur.find_target("ncnn")
    files = sorted((tmp_path / "out").glob("shapes.*"))
    before, after = (secateur.target_cost(secateur.load(*paths), chip) for paths in (CAFFE, files))
    plan = yaml.safe_load((tmp_path / "out" / "plan.yaml").read_text())
    assert plan["target"] == {"name": "ncnn", "inputs": 8, "outputs": 8}
    assert plan["rate"]["achieved"] == pytest.approx(1.0 - after / before, abs=1e-6)
    shown = json.loads(run("inspect", *files, "--json", "--target", "ncnn")[0])
    assert shown["totals"]["target"] == {"name": "ncnn", "cost": after}


def test_layers_that_it_cannot_take_are_told_with_file_and_line(tmp_path):
    chip = tmp_path / "chip.yaml"
    chip.write_text("name: chip\ninputs: 4\noutputs: 4\nrefuses: {caffe: [Pooling]}\n")
    network = secateur.load(*CAFFE)
    line = next(layer.line for layer in network.layers if layer.type == "Pooling")
    _, told = run("inspect", *CAFFE, "--target", chip)
    assert f"shapes.prototxt:{line}: " in " ".join(told.split())
    _, told = run("prune", *CAFFE, "--rate", 0.3, "--target", chip, "-o", tmp_path / "out")
    written = tmp_path / "out" / "shapes.prototxt"
    assert f"{written}:{line}: " in told.replace("\n", "")
    assert any("Pooling" in text for text in written.read_text().splitlines()[line - 1 : line + 4])


def test_rounds_count_the_cost_of_the_target(tmp_path):
    data = FIXTURES / "shapes.npz"
    run("iterate", *CAFFE, "--data", data, "--rates", "0.2,0.4", "--target", "mnn",
        "--criterion", "l1", "--from", "previous", "--no-repair",
        "-o", tmp_path / "out")  # fmt: skip
    chip = secateur.find_target("mnn")
    whole = secateur.target_cost(secateur.load(*CAFFE), chip)
    for number, rate in ((1, 0.2), (2, 0.4)):
        files = sorted((tmp_path / "out" / f"round-0{number}").glob("shapes.*"))
        left = secateur.target_cost(secateur.load(*files), chip) / whole
        assert 1.0 - rate - 1e-9 <= left <= 1.0 - rate + 0.12
