"""What `secateur prune` may choose by: allocation, budget, layers of their own, a config file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from support.program import one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PLAN = "plan.yaml"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]


def prune(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run("prune", *arguments, code=code)


def plan_of(folder: Path) -> dict:
    return yaml.safe_load((folder / "plan.yaml").read_text())


def kept(plan: dict) -> dict[str, int]:
    return {group["name"]: group["kept"] for group in plan["groups"]}


def test_allocations_are_listed():
    text = prune("--allocation", "help").stdout
    for name in ("auto", "global", "uniform", "sensitivity", "threshold", "greedy"):
        assert any(line.startswith(f"{name} ") for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 80


def test_a_latency_budget_tells_what_was_measured_and_can_be_repeated(tmp_path):
    result = prune(*CAFFE, "--rate", 0.3, "--budget", "latency", "-o", tmp_path / "one")
    assert "% by the times of the layers" in result.stderr
    plan = plan_of(tmp_path / "one")
    assert plan["budget"] == "latency"
    assert set(plan["latencies"]) >= {"conv1"}
    again = ("--budget", "latency", "--latencies", tmp_path / "one" / "plan.yaml")
    for name in ("two", "three"):
        prune(*CAFFE, "--rate", 0.3, *again, "-o", tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 3
    for name in names:
        contents = {(tmp_path / k / name).read_bytes() for k in ("one", "two", "three")}
        assert len(contents) == 1


def test_a_config_file_and_the_command_line_over_it(tmp_path):
    config = tmp_path / "prune.yaml"
    config.write_text(
        "rate: 0.4\ncriterion: l2\nround_to: 2\nrepair: none\n"
        "exclude: [conv1]\nlayers:\n  res_a: {rate: 0.5}\n  fc1: {rate: 0.25}\n"
    )
    layers = [group["name"] for group in plan_layers(tmp_path)]
    text = config.read_text().replace("res_a", layers[1]).replace("fc1", layers[-1])
    config.write_text(text)
    prune(*CAFFE, "--config", config, "-o", tmp_path / "a")
    plan = plan_of(tmp_path / "a")
    assert plan["criterion"] == "l2"
    assert plan["rate"]["asked"] == 0.4
    assert plan["limits"]["round_to"] == 2
    assert plan["exclude"] == ["conv1"]
    assert plan["overrides"] == {layers[1]: {"rate": 0.5}, layers[-1]: {"rate": 0.25}}
    prune(
        *CAFFE, "--config", config, "--rate", 0.5, "--criterion", "l1",
        "--layer-rate", f"{layers[1]}=0.25", "-o", tmp_path / "b",
    )  # fmt: skip
    plan = plan_of(tmp_path / "b")
    assert plan["criterion"] == "l1"
    assert plan["rate"]["asked"] == 0.5
    assert plan["overrides"] == {layers[1]: {"rate": 0.25}, layers[-1]: {"rate": 0.25}}


def plan_layers(folder: Path) -> list[dict]:
    prune(*CAFFE, "--rate", 0.1, "-q", "-o", folder / "plain")
    return plan_of(folder / "plain")["groups"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate: 0.5\nratte: 1\n", ":2: there is no option 'ratte' (hint: did you mean rate?)"),
        ("criterion: l1\nrate: much\n", ":2: rate: "),
        ("rate: [0.5]\n", ":1: rate takes one value"),
        ("rate: 7\n", ":1: rate: "),
        ("crop: 3\n", ":1: crop must be true or false, got 3"),
        ("rate: 0.5\nrate: 0.4\n", ":2: 'rate' stands there twice"),
        ("config: other.yaml\n", ":1: there is no option 'config'"),
        ("- rate\n", "a config file must be a mapping of names to values"),
        ("layers: {conv1: {depth: 1}}\n", ":1: layer 'conv1': unknown key 'depth'"),
        ("layers:\n  conv1: {rate: 2}\n", ":2: layer 'conv1': the rate of a layer must be from 0"),
        ("layers:\n  conv1: 3\n", ":2: layer 'conv1': its value must be a mapping"),
        ("rate: [\n", ":2: not valid YAML"),
    ],
)
def test_a_broken_config_file_is_told_with_its_line(tmp_path, text, message):
    config = tmp_path / "broken.yaml"
    config.write_text(text)
    result = prune(*CAFFE, "--config", config, "-o", tmp_path / "out", code=1)
    assert result.stderr.startswith(f"error: {config}")
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--rate", 0.3, "--layer-rate", "conv1"), "'conv1' is not NAME=VALUE", 2),
        (("--rate", 0.3, "--layer-rate", "conv1=x"), "'x' is no list of numbers", 2),
        (
            ("--rate", 0.3, "--layer-rate", "conv1=0.1", "--layer-threshold", "conv1=1"),
            "'conv1' stands there twice",
            2,
        ),
        (("--rate", 0.3, "--allocation", "greedy"), "needs an analysis (hint", 1),
        (
            ("--keep", PLAN, "--budget", "latency"),
            "--budget: a plan says itself what is removed",
            2,
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, message, code):
    (tmp_path / PLAN).write_text("version: 1\ngroups: []\n")
    arguments = [tmp_path / PLAN if argument == PLAN else argument for argument in arguments]
    result = prune(*CAFFE, "-o", tmp_path / "out", *arguments, code=code)
    assert message in one_line(result)


def test_a_plan_with_a_number_only_is_completed(tmp_path):
    prune(*CAFFE, "--rate", 0.3, "--criterion", "l2", "-q", "-o", tmp_path / "one")
    path = tmp_path / "one" / "plan.yaml"
    plan = plan_of(tmp_path / "one")
    entry = plan["groups"][0]
    del entry["removed"]
    entry["kept"] = 3
    path.write_text(yaml.safe_dump(plan))
    prune(*CAFFE, "--keep", path, "-q", "-o", tmp_path / "two")
    made = plan_of(tmp_path / "two")
    assert kept(made) == kept(plan)
    assert len(made["groups"][0]["removed"]) == entry["channels"] - 3
    assert made["criterion"] == "l2"
    assert made["completed"] == [entry["name"]]
