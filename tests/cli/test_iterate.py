"""`secateur iterate` as users meet it: rounds, gate, SIGKILL, and the same bytes every time."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import DataError, PlanError
from secateur.core.files import LOCK, alone_in
from support.program import ENVIRONMENT, command, one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
LABELLED = str(FIXTURES / "shapes.npz")
UNLABELLED = str(FIXTURES / "calibration.npz")
FEW = ("--limit", 60)


def iterate(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run("iterate", *arguments, code=code)


def files(folder: Path) -> dict[str, bytes]:
    """Relative path → content of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_rounds_stand_in_folders_and_the_gate_ends_them(tmp_path):
    arguments = (*CAFFE, "--data", LABELLED, *FEW, "--criterion", "l1", "--no-repair")
    result = iterate(*arguments, "--rates", "0.2,0.5,0.9,0.95", "--max-drop", 20, "-o", tmp_path)
    summary = json.loads((tmp_path / "rounds.json").read_text())
    assert summary["metric"] == "Accuracy"
    rounds = summary["rounds"]
    assert not rounds[-1]["passed"]
    assert rounds[-1]["loss"] > 20
    assert all(entry["passed"] for entry in rounds[:-1])
    assert summary["best"] == (len(rounds) - 1 or None)
    assert "stopped:" in result.stderr
    network = secateur.load(*CAFFE)
    data = secateur.open_dataset(LABELLED, network, limit=60)
    for entry in rounds:
        folder = tmp_path / f"round-{entry['number']:02d}"
        assert (folder / "plan.yaml").is_file()
        small = secateur.load(folder / "shapes.prototxt", folder / "shapes.caffemodel")
        assert secateur.evaluate(small, data).value == entry["value"]
        assert entry["loss"] == pytest.approx(100 * (summary["baseline"] - entry["value"]))
        assert f"{entry['rate']:g}" in result.stdout
    assert not (tmp_path / f"round-{len(rounds) + 1:02d}").exists()
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_without_labels_rounds_are_compared_with_the_original(tmp_path):
    arguments = (*DARKNET, "--data", UNLABELLED, *FEW, "--to", 0.4, "--rounds", 2)
    data = json.loads(iterate(*arguments, "-o", tmp_path, "--json", "-q").stdout)
    assert data == json.loads((tmp_path / "rounds.json").read_text())
    assert data["baseline"] is None
    assert [entry["rate"] for entry in data["rounds"]] == [0.2, 0.4]
    assert 0 < data["rounds"][0]["loss"] < data["rounds"][1]["loss"]
    limit = (data["rounds"][0]["loss"] + data["rounds"][1]["loss"]) / 2
    # The same rounds under a gate: nothing is made again, the second does not pass.
    kept = files(tmp_path)
    data = json.loads(
        iterate(*arguments, "-o", tmp_path, "--json", "--max-divergence", limit / 2).stdout
        if data["rounds"][0]["loss"] < limit / 2
        else iterate(*arguments, "-o", tmp_path, "--json", "--max-divergence", limit).stdout
    )
    assert [entry["passed"] for entry in data["rounds"]] == [True, False]
    now = files(tmp_path)
    assert {name: now[name] for name in now if "/" in name} == {
        name: kept[name] for name in kept if "/" in name
    }
    iterate(*arguments, "-o", tmp_path, "--max-divergence", 1e-9, code=3)


def test_rounds_go_on_from_each_other_by_rates_of_the_original(tmp_path):
    arguments = ("--data", UNLABELLED, *FEW, "--rates", "0.2,0.4,0.6", "--from", "previous")
    iterate(*DARKNET, *arguments, "-o", tmp_path / "one")
    rounds = json.loads((tmp_path / "one" / "rounds.json").read_text())["rounds"]
    for entry in rounds:
        assert entry["achieved"] == pytest.approx(entry["rate"], abs=0.011)
    first, second = (
        secateur.load(*(tmp_path / "one" / f"round-0{k}" / f"shapes.{end}" for end in
                        ("cfg", "weights")))
        for k in (1, 2)
    )  # fmt: skip
    counts = [
        {group.name: len(group.units) for group in secateur.find_groups(n).groups}
        for n in (first, second)
    ]
    assert all(counts[1][name] <= count for name, count in counts[0].items())
    iterate(*DARKNET, *arguments, "-o", tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_killed_and_run_again_it_comes_to_the_same(tmp_path):
    arguments = (
        *CAFFE, "--data", LABELLED, *FEW, "--rates", "0.2,0.4,0.6", "--from", "previous",
        "--criterion", "l1",
    )  # fmt: skip
    iterate(*arguments, "-o", tmp_path / "whole")
    folder = tmp_path / "killed"
    for wanted in (1, 2):
        process = subprocess.Popen(
            command("iterate", *arguments, "-o", folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        # In the middle of a round: as soon as the folder aside is there.
        while process.poll() is None:
            if whole(folder) >= wanted and any(folder.glob(".round-*")):
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert wanted <= whole(folder) < 3
        assert not (folder / "rounds.json").exists()
    iterate(*arguments, "-o", folder)
    assert files(folder) == files(tmp_path / "whole")


def whole(folder: Path) -> int:
    """How many rounds are there; each of them must be whole."""
    found = list(folder.glob("round-*"))
    for path in found:
        names = {entry.name for entry in path.iterdir()}
        assert names == {"plan.yaml", "round.json", "shapes.prototxt", "shapes.caffemodel"}
    return len(found)


def test_a_folder_of_something_else_is_refused_until_told_otherwise(tmp_path):
    arguments = (*DARKNET, "--data", UNLABELLED, *FEW, "--criterion", "l1", "-o", tmp_path)
    iterate(*arguments, "--rates", "0.2")
    result = iterate(*arguments, "--rates", "0.3", code=1)
    assert "round-01/round.json: belongs to another model, other data or other settings" in (
        result.stderr
    )
    iterate(*arguments, "--rates", "0.2,0.3")
    iterate(*arguments, "--rates", "0.3", "--restart")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-01", "rounds.json"]


def test_two_runs_in_one_folder(tmp_path):
    arguments = (*DARKNET, "--data", UNLABELLED, *FEW, "--rates", "0.2", "-o", tmp_path)
    with alone_in(tmp_path):
        result = iterate(*arguments, "--restart", code=1)
        assert f"{tmp_path}: another run is at work in this folder" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_times_of_layers_are_measured_once(tmp_path):
    network = secateur.load(*CAFFE)
    data = secateur.open_dataset(UNLABELLED, network, limit=20)
    settings = {"rates": [0.2], "budget": "latency", "criterion": "l1", "repair": False}
    secateur.iterate(network, data, tmp_path, **settings)
    kept = files(tmp_path)
    assert json.loads(kept["latencies.json"])
    settings["rates"] = [0.2, 0.4]
    found = secateur.iterate(network, data, tmp_path, **settings)
    now = files(tmp_path)
    assert now["latencies.json"] == kept["latencies.json"]
    assert now["round-01/plan.yaml"] == kept["round-01/plan.yaml"]
    assert len(found.rounds) == 2


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ((), "give --rates, or --to with --rounds", 2),
        (("--to", 0.5), "give --rates, or --to with --rounds", 2),
        (("--rates", "0.3", "--to", 0.5, "--rounds", 2), "give --rates, or --to", 2),
        (("--rates", "0.5,0.3"), "--rates: rates must rise from round to round", 2),
        (("--rates", "0.5", "--from", "scratch"), "--from: must be original or previous", 2),
        (("--rates", "0.5", "--max-drop", 1), "needs labelled data", 1),
        (
            ("--rates", "0.5", "--from", "previous", "--layer-rate", "0=0.5"),
            "a layer's own rate is of the original network",
            2,
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, message, code):
    result = iterate(
        *DARKNET, "--data", UNLABELLED, "--limit", 10, "-o", tmp_path / "out", *arguments, code=code
    )
    assert message in one_line(result)
    assert not (tmp_path / "out").exists()


def test_rates_of_equal_steps(tmp_path):
    assert secateur.rising_rates(0.6, 3) == (0.2, 0.4, 0.6)
    with pytest.raises(PlanError, match="over 0 and below 1"):
        secateur.rising_rates(1.0, 2)
    network = secateur.load(*DARKNET)
    data = secateur.open_dataset(LABELLED, network, limit=10)
    with pytest.raises(DataError, match="divergence is for data without labels"):
        secateur.iterate(network, data, tmp_path / "out", rates=[0.5], max_divergence=1.0)
    assert not (tmp_path / "out").exists()


def test_lenet_in_rounds(shared, tmp_path):
    folder = shared / "models/lenet_mnist"
    network = secateur.load(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    random = np.random.default_rng(0)
    np.savez(tmp_path / "noise.npz", x=random.random((64, 1, 28, 28), dtype=np.float32))
    data = secateur.open_dataset(tmp_path / "noise.npz", network)
    found = secateur.iterate(network, data, tmp_path / "out", rates=[0.3, 0.6])
    assert found.metric == "KL divergence"
    assert [entry.achieved for entry in found.rounds] == pytest.approx([0.3, 0.6], abs=0.011)
    assert found.best is found.rounds[-1]
    small = secateur.load(
        tmp_path / "out/round-02/lenet.prototxt",
        tmp_path / "out/round-02/lenet_iter_10000.caffemodel",
    )
    assert secateur.fidelity(network, small, data).divergence == pytest.approx(
        found.rounds[1].value, rel=1e-5
    )
