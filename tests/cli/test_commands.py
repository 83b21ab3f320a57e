"""The program as users meet it: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

import secateur
from support.program import ENVIRONMENT, command, one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
DATA = str(FIXTURES / "shapes.npz")
CALIBRATION = str(FIXTURES / "calibration.npz")


def test_version_and_help():
    assert run("--version").stdout.strip() == f"secateur {secateur.__version__}"
    text = run("--help").stdout
    for name in ("inspect", "convert", "prune", "compare"):
        assert name in text
        assert max(map(len, run(name, "--help").stdout.splitlines())) <= 80


def test_inspect_prints_every_layer_and_the_totals():
    text = run("inspect", *CAFFE).stdout
    network = secateur.load(*CAFFE)
    for info in network.layers:
        assert re.search(rf"^{re.escape(info.name)}\s", text, re.MULTILINE), info.name
    assert "Vendor's count" in text
    assert "feeds output 'prob'" in text


def test_inspect_as_json():
    data = json.loads(run("inspect", *DARKNET, "--json").stdout)
    assert data["format"] == "darknet"
    assert data["inputs"] == {"data": ["N", 1, 28, 28]}
    assert data["totals"]["operations"] == sum(row["operations"] for row in data["layers"])
    assert data["totals"]["parameters"] == 93314
    fixed = {row["name"]: row["fixed"] for row in data["layers"]}
    assert fixed["14"] is not None
    assert fixed["0"] is None


def test_convert_to_onnx_with_inner_layers(tmp_path):
    run("convert", *CAFFE, "-o", tmp_path / "net.onnx", "--expose", "conv1,res2")
    outputs = secateur.load(tmp_path / "net.onnx").outputs
    assert list(outputs) == ["prob", "layer:conv1", "layer:res2"]


def test_convert_with_padded_channels(tmp_path):
    run("prune", *CAFFE, "--rate", 0.3, "-o", tmp_path)
    small = [tmp_path / Path(file).name for file in CAFFE]
    result = run("convert", *small, "-o", tmp_path / "net.onnx", "--pad-channels", 8)
    assert "channels padded to multiples of 8: " in result.stderr
    run("compare", *small, tmp_path / "net.onnx", "--tolerance", 1e-5)
    again = run("convert", tmp_path / "net.onnx", "-o", tmp_path / "b.onnx", "--pad-channels", 8)
    assert "no group of channels is to be padded to a multiple of 8" in again.stderr


def test_convert_to_the_same_format(tmp_path):
    run("convert", *DARKNET, "-o", tmp_path / "net.cfg", "--quiet")
    assert (tmp_path / "net.cfg").read_bytes() == Path(DARKNET[0]).read_bytes()
    assert (tmp_path / "net.weights").read_bytes() == Path(DARKNET[1]).read_bytes()


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_prune_writes_files_plan_and_table(files, tmp_path):
    result = run(
        "prune", *files, "--rate", 0.3, "--data", DATA, "--limit", 50, "-o", tmp_path / "out"
    )
    for item in ("Accuracy", "Parameters", "Operations", "File size", "Latency"):
        assert item in result.stdout
    assert "masked = dense" in result.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(["plan.yaml", *(Path(file).name for file in files)])
    before = json.loads(run("inspect", *files, "--json").stdout)["totals"]["operations"]
    small = [tmp_path / "out" / Path(file).name for file in files]
    after = json.loads(run("inspect", *small, "--json").stdout)["totals"]["operations"]
    assert 0.28 <= 1 - after / before <= 0.3


def test_the_gate_keeps_files_from_being_written(tmp_path):
    result = run(
        "prune", *CAFFE, "--rate", 0.9, "--data", DATA, "--limit", 60, "--criterion", "l1",
        "--max-drop", 0.1, "-o", tmp_path / "out", code=3,
    )  # fmt: skip
    warning, error = result.stderr.splitlines()
    assert "calibrate and measure" in warning
    assert "error: Accuracy drops by" in error
    assert not (tmp_path / "out").exists()


def test_labels_that_do_not_fit_leave_no_files(tmp_path):
    with np.load(DATA) as archive:
        np.savez(tmp_path / "d.npz", x=archive["x"][:32], y=np.arange(32))
    result = run(
        "prune", *CAFFE, "--rate", 0.3, "--criterion", "l1", "--data", tmp_path / "d.npz",
        "-o", tmp_path / "out", code=1,
    )  # fmt: skip
    assert "d.npz: y[" in one_line(result)
    assert not (tmp_path / "out").exists()


def test_compare_agrees_and_disagrees(tmp_path):
    run("convert", *CAFFE, "-o", tmp_path / "net.onnx")
    result = run("compare", *CAFFE, tmp_path / "net.onnx", "--input", DATA)
    assert "prob" in result.stdout
    run("prune", *CAFFE, "--rate", 0.3, "-o", tmp_path / "out")
    small = [tmp_path / "out" / Path(file).name for file in CAFFE]
    result = run("compare", *CAFFE, *small, "--input", DATA, code=3)
    assert "output 'prob' differs by" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inspect", "nowhere.cfg"], 1, "error: nowhere.cfg: no such file"),
        (["inspect", CAFFE[0]], 1, "a .caffemodel with its weights is missing"),
        (["prune", *CAFFE, "--rate", "0.3", "-o", CAFFE[0]], 1, "would overwrite the input"),
        (
            ["prune", *CAFFE, "--rate", "0.3", "-o", "out", "--data", "nowhere.npz"],
            1,
            "there is no data at 'nowhere.npz'",
        ),
        (
            ["prune", *CAFFE, "--rate", "0.3", "-o", "out", "--criterion", "magic"],
            1,
            "unknown criterion 'magic'",
        ),
    ],
)
def test_errors_are_one_line(arguments, code, message, tmp_path):
    assert message in one_line(run(*arguments, code=code))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["prune", *CAFFE, "-o", "out"],
        ["prune", *CAFFE, "--rate", "2", "-o", "out"],
        ["compare", *CAFFE],
        ["convert", *CAFFE, "-o", "x.prototxt", "--expose", "all"],
        ["convert", *CAFFE, "-o", "x.prototxt", "--pad-channels", "8"],
        ["inspect", *CAFFE, "--input-shape", "data"],
    ],
)
def test_wrong_usage_returns_two(arguments):
    assert one_line(run(*arguments, code=2)).startswith("error: ")


def test_quiet_prints_results_only(tmp_path):
    result = run("prune", *DARKNET, "--rate", 0.2, "--criterion", "l1", "--data", CALIBRATION, "-o",
                 tmp_path / "out", "--quiet")  # fmt: skip
    assert result.stderr == ""
    assert "Operations" in result.stdout


def test_sparse_then_transform(tmp_path):
    run("prune", *DARKNET, "--rate", 0.4, "--criterion", "l1", "--mode", "sparse",
        "-o", tmp_path / "sparse")  # fmt: skip
    sparse = [tmp_path / "sparse" / Path(file).name for file in DARKNET]
    assert sparse[0].read_bytes() == Path(DARKNET[0]).read_bytes()
    plan = tmp_path / "sparse" / "plan.yaml"
    run("transform", *sparse, "--plan", plan, "-o", tmp_path / "dense")
    dense = [tmp_path / "dense" / Path(file).name for file in DARKNET]
    run("compare", *sparse, *dense, "--input", DATA)
    assert dense[1].stat().st_size < sparse[1].stat().st_size
    run("prune", *DARKNET, "--keep", plan, "-o", tmp_path / "kept")
    assert (tmp_path / "kept" / "shapes.cfg").read_bytes() == dense[0].read_bytes()


def test_a_plan_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "plan.yaml").write_text("version: 1\ngroups: [{name: 0}]")
    result = run("prune", *DARKNET, "--keep", tmp_path / "plan.yaml", "-o", tmp_path, code=1)
    assert "plan.yaml:2: group number 1: a group needs a name" in one_line(result)
    (tmp_path / "plan.yaml").write_text(
        "version: 1\ngroups: [{name: x, channels: 2, removed: [0]}]"
    )
    result = run("prune", *DARKNET, "--keep", tmp_path / "plan.yaml", "-o", tmp_path, code=1)
    assert "plan.yaml: group 'x': the network has no such group" in one_line(result)
    result = run("prune", *DARKNET, "--keep", "nowhere.yaml", "-o", tmp_path, code=1)
    assert "nowhere.yaml: cannot be read" in one_line(result)


def test_criteria_are_listed():
    text = run("prune", "--criterion", "help").stdout
    assert re.search(r"^obs\s", text, re.MULTILINE)
    assert "Li et al." in text


def test_repairs_are_listed():
    text = run("prune", "--repair", "help").stdout
    for name in ("auto", "none", "absorb", "refit", "recalibrate", "bias"):
        assert re.search(rf"^{name}\s", text, re.MULTILINE), name
    assert max(map(len, text.splitlines())) <= 80


def test_repairs_are_chosen_told_and_recorded(tmp_path):
    common = ["--rate", 0.3, "--criterion", "l1", "--data", DATA, "--limit", 100]
    result = run("prune", *DARKNET, *common, "-o", tmp_path / "auto")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("repair: ")]
    assert re.search(r"refit kept \([0-9.]+ → [0-9.]+\)", line)
    assert line.endswith("output error on 20 samples held back")
    plan = yaml.safe_load((tmp_path / "auto" / "plan.yaml").read_text())
    assert [record["method"] for record in plan["repair"]][:2] == ["absorb", "refit"]
    one = run("prune", *DARKNET, *common, "--repair", "bias", "-o", tmp_path / "bias")
    assert re.search(r"^repair: bias (kept|left out) ", one.stderr, re.MULTILINE)
    for flags in (["--repair", "none"], ["--no-repair"]):
        result = run("prune", *DARKNET, *common, *flags, "-o", tmp_path / flags[0] / flags[-1])
        assert "repair:" not in result.stderr


def test_wrong_repairs_are_one_line(tmp_path):
    result = run("prune", *DARKNET, "--rate", 0.3, "--repair", "refti", "-o", tmp_path, code=1)
    assert "unknown repair 'refti' (hint: did you mean refit? known are " in one_line(result)
    weights = ("--criterion", "l1", "--repair", "refit")
    result = run("prune", *DARKNET, "--rate", 0.3, *weights, "-o", tmp_path, code=1)
    assert "repair 'refit' needs data" in one_line(result)


def test_a_threshold_and_a_rate_by_analysis(tmp_path):
    run("ana", *CAFFE, "--data", DATA, "--limit", 40, "-o", tmp_path / "ana", "--quiet")
    common = ["--analysis", tmp_path / "ana", "--data", DATA, "--limit", 40]
    run("prune", *CAFFE, "--threshold", 0.01, *common, "-o", tmp_path / "threshold")
    assert "allocation: threshold" in (tmp_path / "threshold" / "plan.yaml").read_text()
    run("prune", *CAFFE, "--rate", 0.4, *common, "-o", tmp_path / "rate")
    assert "allocation: sensitivity" in (tmp_path / "rate" / "plan.yaml").read_text()
    result = run("prune", *CAFFE, "--threshold", 0.01, "-o", tmp_path, code=1)
    assert "a threshold needs an analysis" in one_line(result)


def test_a_threshold_by_obs(tmp_path):
    common = ["--threshold", 0.5, "--data", DATA, "--limit", 20, "-o", tmp_path]
    run("prune", *CAFFE, *common, "--layer-rate", "conv1=0")
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    assert (plan["allocation"], plan["threshold"]) == ("global", 0.5)
    assert plan["rate"]["achieved"] > 0.1
    kept = {group["name"]: len(group.get("removed", [])) for group in plan["groups"]}
    assert kept.pop("conv1", 0) == 0
    assert any(kept.values())


@pytest.mark.parametrize("arguments", [("prune", "--criterion", "help"), ("--help",)])
def test_output_that_nobody_reads_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command(*arguments), stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
            env=ENVIRONMENT,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
