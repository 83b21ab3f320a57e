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


def test_channels_leave_during_training_and_transform_makes_it_small(tmp_path: Path) -> None:
    out, dense = tmp_path / "tuned", tmp_path / "dense"
    data = ("--data", FIXTURES / "shapes.npz")
    result = run("finetune", *CAFFE, *data, *QUICK, "--sparsify", "cubic", "--rate", 0.4,
                 "--learning-rate", 1e-3, "-o", out)  # fmt: skip
    assert "Removed" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "of the operations are gone" in result.stderr
    assert "secateur transform --plan" in result.stderr
    content = json.loads((out / "finetune.json").read_text())
    assert 0.38 < content["removed"] <= 0.4
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert float(rows[-1]["removed"]) == content["removed"]
    files = [out / path.name for path in CAFFE]
    before, plan = secateur.load(*CAFFE), out / "plan.yaml"
    assert secateur.load(*files).inputs == before.inputs
    run("transform", *files, "--plan", plan, "-o", dense)
    sizes = [(folder / CAFFE[1].name).stat().st_size for folder in (out, dense)]
    assert sizes[1] < 0.8 * sizes[0]
    # Without the schedule, the plan holds the zeros in a further training.
    again = tmp_path / "again"
    run("finetune", *files, "--plan", plan, *data, *QUICK, "-o", again)
    run("transform", *(again / path.name for path in CAFFE), "--plan", plan, "-o", dense)


def test_rewinding_to_early_weights(tmp_path: Path) -> None:
    network = secateur.load(*DARKNET)
    result = secateur.prune(network, rate=0.5, criterion="l1", repair="none")
    (tmp_path / "pruned").mkdir()
    small = list(secateur.save(result, tmp_path / "pruned").paths)[:2]
    early = tmp_path / "early.weights"
    content = bytearray(DARKNET[1].read_bytes())
    content[12:20] = (640).to_bytes(8, "little")
    early.write_bytes(content)
    out = tmp_path / "tuned"
    run("finetune", *small, "--rewind", DARKNET[0], early, "--plan", tmp_path / "pruned/plan.yaml",
        "--data", FIXTURES / "shapes.npz", *QUICK, "-o", out)  # fmt: skip
    best = json.loads((out / "finetune.json").read_text())["best"]["step"]
    assert _seen(out / small[1].name) == 640 + 16 * best
    # Weights alone go with the cfg of the model.
    run("finetune", *DARKNET, "--rewind", early, "--rewind-rate", "--own-solver",
        "--data", FIXTURES / "shapes.npz", *QUICK, "-o", tmp_path / "rate")  # fmt: skip
    failed = run("finetune", *small, "--rewind", *DARKNET, "--data", FIXTURES / "shapes.npz",
                 *QUICK, "-o", tmp_path / "x", code=1)  # fmt: skip
    assert "give the early model before pruning, and the plan" in one_line(failed)


def test_what_is_wrong_with_a_schedule_is_told_in_one_line(tmp_path: Path) -> None:
    data = ("--data", FIXTURES / "shapes.npz", "-o", tmp_path / "a")
    listed = run("finetune", "--sparsify", "help").stdout
    assert all(f"{name} " in listed for name in ("spp", "cubic", "greg"))
    for given, message, code in (
        (("--sparsify", "cubix", "--rate", 0.5), "unknown schedule 'cubix'", 1),
        (("--sparsify", "cubic"), "--sparsify: a schedule needs a rate to reach", 2),
        (("--rate", 0.5), "--rate: a rate needs a schedule", 2),
        (("--sparsify", "spp", "--rate", 0.999), "is out of reach", 1),
    ):
        assert message in one_line(run("finetune", *CAFFE, *data, *given, code=code))
    assert not (tmp_path / "a").exists() or not list((tmp_path / "a").iterdir())
