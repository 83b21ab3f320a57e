"""Training by the schedule of the files, more than one step long, as users start it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.detector import detector, squares
from support.program import one_line, run
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    need_torch()


def rates(out: Path) -> list[float]:
    """Return the learning rate of every update."""
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    return [float(row["rate"]) for row in rows[1:]]


def test_a_cfg_is_followed_from_the_images_seen_on(tmp_path: Path) -> None:
    """burn_in=4 with power 4, then 0.001, from update 20 on a tenth of it; 30 updates in all."""
    files = detector(tmp_path / "model", batches=30)
    photos = squares(tmp_path / "photos")
    options = ("--data", photos, "--own-solver", "--augment", "none")
    first = tmp_path / "first"
    run("finetune", *files, *options, "--steps", 12, "--measurements", 12, "-o", first)

    def rate(number: int) -> float:
        if number < 4:
            return 0.001 * (number / 4) ** 4
        return 0.001 * (0.1 if number >= 20 else 1.0)

    assert rates(first) == pytest.approx([rate(number) for number in range(1, 13)], rel=1e-6)
    history = json.loads((first / "finetune.json").read_text())
    done = history["best"]["step"]
    seen = (first / "model.weights").read_bytes()[12:20]
    assert int.from_bytes(seen, "little") == done * 8
    second = tmp_path / "second"
    on = [first / path.name for path in files]
    run("finetune", *on, *options, "--measurements", 30 - done, "-o", second)
    expected = [rate(number) for number in range(done + 1, 31)]
    assert rates(second) == pytest.approx(expected, rel=1e-6)


POLICIES: dict[str, tuple[str, Callable[[int], float]]] = {
    "multistep": (
        "lr_policy: 'multistep' gamma: 0.5 stepvalue: 2 stepvalue: 5 momentum: 0.9 iter_size: 2 "
        "clip_gradients: 5",
        lambda n: 0.01 * 0.5 ** ((n >= 2) + (n >= 5)),
    ),
    "inv": (
        "lr_policy: 'inv' gamma: 0.1 power: 0.75 momentum: 0.9 type: 'Nesterov'",
        lambda n: 0.01 * (1 + 0.1 * n) ** -0.75,
    ),
    "poly": (
        "lr_policy: 'poly' power: 2 type: 'Adam' momentum: 0.9 momentum2: 0.999 "
        "weight_decay: 0.0005",
        lambda n: 0.01 * (1 - n / 8) ** 2,
    ),
}


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_solver_file_is_followed_to_its_end(name: str, tmp_path: Path) -> None:
    text, rate = POLICIES[name]
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f"base_lr: 0.01 max_iter: 8 {text}\n")
    out = tmp_path / "out"
    told = run(
        "finetune", *CAFFE, "--data", FIXTURES / "shapes.npz", "--limit", 120, "--batch-size", 8,
        "--solver", solver, "--measurements", 8, "--augment", "none", "-o", out,
    )  # fmt: skip
    assert "8 steps of " in told.stderr
    assert rates(out) == pytest.approx([rate(number) for number in range(8)], rel=1e-5)
    history = json.loads((out / "finetune.json").read_text())["history"]
    assert all(entry["loss"] is not None for entry in history[1:])


def test_a_schedule_that_has_ended_is_told(tmp_path: Path) -> None:
    files = detector(tmp_path / "model", batches=30)
    content = bytearray(files[1].read_bytes())
    content[12:20] = (30 * 8).to_bytes(8, "little")
    files[1].write_bytes(content)
    photos = squares(tmp_path / "photos", 8)
    options = ("--data", photos, "--own-solver", "-o", tmp_path / "out")
    failed = run("finetune", *files, *options, code=1)
    message = "the schedule of the files ends after 30 updates, and 30 are done"
    assert message in failed.stderr
    assert "--reset-seen" in failed.stderr
    assert one_line(run("finetune", *files, *options, "-q", code=1)).count(message) == 1
