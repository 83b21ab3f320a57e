"""`secateur finetune` on both formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import secateur
from support.program import one_line, run
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
QUICK = ("--steps", 12, "--batch-size", 16, "--measurements", 2, "--limit", 120)


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    need_torch()


def pruned(files: list[Path], folder: Path) -> list[Path]:
    network = secateur.load(*files)
    result = secateur.prune(network, rate=0.5, criterion="l1", repair="none")
    folder.mkdir()
    return list(secateur.save(result, folder).paths)


def _seen(weights: Path) -> int:
    """Return the images that a weights file says were seen (bytes 12 to 19 of its header)."""
    return int.from_bytes(weights.read_bytes()[12:20], "little")


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_a_pruned_model_is_trained_by_labels(files: list[Path], tmp_path: Path) -> None:
    small = pruned(files, tmp_path / "pruned")
    out = tmp_path / "tuned"
    labelled = FIXTURES / "shapes.npz"
    result = run("finetune", *small, "--data", labelled, *QUICK, "-o", out)
    assert "108 samples, 12 held out, 12 steps of 16" in result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted([*(path.name for path in small), "finetune.json", "history.csv"])
    content = json.loads((out / "finetune.json").read_text())
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert len(rows) == len(content["history"]) == 3
    assert content["best"]["held_out"] < content["history"][0]["held_out"]
    before, after = secateur.load(*small), secateur.load(*(out / path.name for path in small))
    assert after.outputs == before.outputs
    if files is DARKNET:
        seen = [
            int.from_bytes(p.read_bytes()[12:20], "little") for p in (small[1], out / small[1].name)
        ]
        assert seen[1] - seen[0] == 16 * content["best"]["step"]


def test_a_teacher_and_validation_data(tmp_path: Path) -> None:
    small = pruned(CAFFE, tmp_path / "pruned")
    result = run(
        "finetune", *small, "--teacher", *CAFFE, "--plan", tmp_path / "pruned" / "plan.yaml",
        "--data", FIXTURES / "calibration.npz", "--val", FIXTURES / "shapes.npz", *QUICK,
        "--learning-rate", 1e-3, "-o", tmp_path / "tuned", "--json", "-q",
    )  # fmt: skip
    content = json.loads(result.stdout)
    assert content["metric"] == "Accuracy"
    assert content["best"]["value"] >= content["history"][0]["value"]
    assert [entry["stage"] for entry in content["history"]][-1] == "features and outputs"


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    small = pruned(CAFFE, tmp_path / "pruned")
    data = ("--data", FIXTURES / "calibration.npz")
    failed = run("finetune", *small, *data, *QUICK, "-o", tmp_path / "a", code=1)
    assert "there is nothing to learn from" in one_line(failed)
    assert "--teacher" in one_line(failed)
    failed = run("finetune", *small, *data, "--steps", 0, "-o", tmp_path / "a", code=2)
    assert "--steps: it must be over 0, got 0" in one_line(failed)
    failed = run("finetune", *small, *data, "--own-solver", "-o", tmp_path / "a", code=1)
    assert "the model's files name no schedule" in one_line(failed)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "checkpoint-00000007.npz").write_bytes(b"")
    failed = run("finetune", *small, *data, *QUICK, "-o", tmp_path / "b", code=1)
    assert "there are checkpoints of an earlier training" in one_line(failed)
    failed = run("finetune", *small, *data, *QUICK, "--resume", "-o", tmp_path / "b",
                 "--teacher", *CAFFE, code=1)  # fmt: skip
    assert "the checkpoint cannot be read" in one_line(failed)
