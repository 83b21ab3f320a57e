"""`secateur ana` as users meet it: result, table, resuming after SIGKILL."""

from __future__ import annotations

import io
import json
import math
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import secateur
from secateur import Classification, Divergence
from secateur.cli.ana import table_of
from secateur.cli.spelling import BY_TYPE
from secateur.cli.usage import Written
from secateur.core.files import LOCK, alone_in
from secateur.core.sensitivity import Analysis, GroupAnalysis, Point
from support.program import ENVIRONMENT, command, one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
LABELLED = str(FIXTURES / "shapes.npz")
UNLABELLED = str(FIXTURES / "calibration.npz")


def ana(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run("ana", *arguments, code=code)


def test_it_writes_a_result_and_prints_curves(tmp_path):
    result = ana(*CAFFE, "--data", LABELLED, "--limit", 60, "-o", tmp_path / "ana")
    assert "Accuracy 98.33 % on 60 samples" in result.stdout
    assert any(mark in result.stdout for mark in "▅▆▇█")
    analysis = secateur.load_analysis(tmp_path / "ana")
    network = secateur.load(*CAFFE)
    names = [group.name for group in secateur.find_groups(network).groups if group.prunable]
    assert [group.name for group in analysis.groups] == names
    for group in analysis.groups:
        assert group.name in result.stdout
        assert [point.rate for point in group.points] == [k / 10 for k in range(1, 10)]


def test_json_and_a_threshold(tmp_path):
    arguments = (*DARKNET, "--data", UNLABELLED, "--limit", 30, "-o", tmp_path, "--rates", "0.3,.6")
    data = json.loads(ana(*arguments, "--json").stdout)
    assert data == json.loads((tmp_path / "analysis.json").read_text())
    assert data["metric"] == "Output error"
    assert data["baseline"] is None
    followed = json.loads(ana(*arguments, "--json", "--threshold", 0.1).stdout)
    assert followed["threshold"] == 0.1
    ana(*arguments, "--exclude", "0", "-q")
    excluded = secateur.load_analysis(tmp_path)
    assert excluded.by_name("0") is None
    assert len(excluded.groups) == len(data["groups"]) - 1


def test_a_folder_of_something_else_is_refused(tmp_path):
    arguments = ("--rates", "0.5", "--limit", 10, "-o", tmp_path)
    ana(*CAFFE, "--data", LABELLED, *arguments)
    result = ana(*CAFFE, "--data", UNLABELLED, *arguments, code=1)
    assert "state.jsonl:1: belongs to another model, other data or other settings" in result.stderr
    assert "--restart" in result.stderr
    ana(*CAFFE, "--data", UNLABELLED, *arguments, "--restart")
    assert secateur.load_analysis(tmp_path).metric == "KL divergence"


def test_two_runs_in_one_folder(tmp_path):
    arguments = (*CAFFE, "--data", LABELLED, "--rates", "0.5", "--limit", 10, "-o", tmp_path)
    with alone_in(tmp_path):
        result = ana(*arguments, code=1)
        assert f"{tmp_path}: another run is at work in this folder" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    ana(*arguments)


def test_an_early_error_leaves_no_folder(tmp_path):
    with np.load(LABELLED) as archive:
        np.savez(tmp_path / "odd.npz", x=archive["x"][:8], y=np.full(8, 99))
    arguments = (*CAFFE, "--data", tmp_path / "odd.npz", "--rates", "0.5")
    told = "odd.npz: y[0]: the label is 99"
    assert told in ana(*arguments, "-o", tmp_path / "new", code=1).stderr
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    assert told in ana(*arguments, "-o", tmp_path / "old", code=1).stderr
    assert (tmp_path / "old").is_dir()


def test_places_that_cannot_be_written(tmp_path):
    arguments = (*CAFFE, "--data", LABELLED, "--limit", 4, "--rates", "0.5")
    (tmp_path / "file").write_text("")
    assert (
        f"{tmp_path}/file: is no folder" in ana(*arguments, "-o", tmp_path / "file", code=1).stderr
    )
    (tmp_path / "taken/analysis.json").mkdir(parents=True)
    result = ana(*arguments, "-o", tmp_path / "taken", code=1)
    assert f"{tmp_path}/taken/analysis.json: cannot be written" in result.stderr
    assert not (tmp_path / "taken/state.jsonl").exists()  # told before the work, not after it
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/state.jsonl").symlink_to("/dev/full")
    assert "state.jsonl: is no plain file" in ana(*arguments, "-o", tmp_path / "odd", code=1).stderr
    assert ana(*arguments, "--rising", code=2).stdout == ""
    result = ana(*arguments, "-o", tmp_path, "--cluster", "tcp://127.0.0.1:1", code=1)
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1'" in result.stderr


def test_tables_fit_a_terminal():
    rates = [place / 100 for place in range(1, 100)]
    group = GroupAnalysis(
        name="a_rather_long/name_of_a_layer/5x5_reduce", layers=("a",), channels=512, order=(),
        points=tuple(Point(rate=rate, removed=5, loss=rate - 0.05) for rate in rates),
    )  # fmt: skip
    broken = replace(group, name="b", points=(Point(rate=0.01, removed=1, loss=math.inf),))
    complete = Analysis(
        model="net", model_digest="", digest="", data="", samples=1, metric="Accuracy",
        original_value=0.9, criterion="l1", threshold=None, groups=(group, broken),
    )  # fmt: skip
    followed = replace(complete, threshold=0.2, metric="KL divergence")
    for analysis, task in ((complete, Classification("out")), (followed, Divergence("out"))):
        console = Console(width=80, file=io.StringIO())
        console.print(table_of(analysis, task))
        lines = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        assert "…" not in console.file.getvalue()
        assert any("▄▄▅▅" in line for line in lines)
        assert any("█···" in line for line in lines)
    assert "0.25" in console.file.getvalue()
    assert "none" in console.file.getvalue()


def test_killed_at_random_moments_it_comes_to_the_same_result(tmp_path):
    arguments = (*DARKNET, "--data", LABELLED, "--jobs", 1)
    began = time.monotonic()
    ana(*arguments, "-o", tmp_path / "whole")
    span = time.monotonic() - began
    moments = random.Random(20240607)
    folder = tmp_path / "killed"
    state = folder / "state.jsonl"
    kills, lines = 0, 0
    # One kill in the middle of the points at least, the others at any moment.
    for wanted in (1, 12, None, None):
        process = subprocess.Popen(
            command("ana", *arguments, "-o", folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        moment = time.monotonic() + (moments.uniform(0, span) if wanted is None else 60)
        while process.poll() is None and time.monotonic() < moment:
            if wanted is not None and finished(state) > max(wanted, lines):
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        assert finished(state) >= lines, "finished points were lost"
        lines = finished(state)
    assert kills >= 2
    assert lines > 0
    # What a kill in the middle of a write leaves behind.
    with state.open("ab") as file:
        file.write(b'{"group": "0", "rem')
        os.fsync(file.fileno())
    ana(*arguments, "-o", folder)
    whole, resumed = ((tmp_path / name / "analysis.json") for name in ("whole", "killed"))
    assert resumed.read_bytes() == whole.read_bytes()
    assert finished(state) == finished(tmp_path / "whole" / "state.jsonl")


def finished(state: Path) -> int:
    """How many whole lines a state file has."""
    return state.read_bytes().count(b"\n") if state.exists() else 0


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0.1:0.9:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("0.25:0.5:0.25", [0.25, 0.5]),
        ("0.3", [0.3]),
        ("0.5,0.2", [0.5, 0.2]),
    ],
)
def test_rates(text, rates):
    found = BY_TYPE["Sequence[float]"].read((Written(text, "--rates"),))
    assert list(secateur.AnalyzeOptions(rates=found).rates) == rates


@pytest.mark.parametrize("text", ["", "a", "0.1:0.5", "0:0.5:0.1", "0.5:0.1:0.1", "0.1:1:0.1", "2"])
def test_impossible_rates(text):
    arguments = (*CAFFE, "--data", LABELLED, "-o", "nowhere", f"--rates={text}")
    assert one_line(ana(*arguments, code=2)).startswith("error: --rates: ")
