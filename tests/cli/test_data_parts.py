"""`train=` calibrates, `valid=` measures; `--val` everywhere; a caution where both are the same."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from support.program import inside as run
from support.program import one_line

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
SAME = "calibrate and measure: on others, figures will be lower (--val gives others)"
TRAIN, VALID = 24, 16


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A .data file of a classifier, with 24 images of train= and 16 of valid=."""
    with np.load(FIXTURES / "shapes.npz") as archive:
        pixels, labels = archive["x"][: TRAIN + VALID, 0], archive["y"][: TRAIN + VALID]
    lines = []
    for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        path = tmp_path / f"{number}_of{label}.png"
        scaled = (picture - picture.min()) / np.ptp(picture) * 255
        assert cv2.imwrite(str(path), scaled.astype(np.uint8))
        lines.append(f"{path}\n")
    (tmp_path / "train.txt").write_text("".join(lines[:TRAIN]))
    (tmp_path / "valid.txt").write_text("".join(lines[TRAIN:]))
    (tmp_path / "names.txt").write_text("".join(f"_of{label}\n" for label in range(10)))
    path = tmp_path / "shapes.data"
    path.write_text("classes=10\ntrain=train.txt\nvalid=valid.txt\nlabels=names.txt\n")
    return path


def pruned(data: Path, *more: object) -> tuple[str, dict[str, object]]:
    """Prune; return what is said, and what the plan remembers of the data."""
    output = data.parent / "out"
    common = ("--rate", 0.2, "--criterion", "l1", "-o", output)
    stderr = run("prune", *DARKNET, "--data", data, *common, *more).stderr
    return stderr, yaml.safe_load((output / "plan.yaml").read_text())["data"]


def test_train_calibrates_and_valid_measures(data: Path) -> None:
    stderr, used = pruned(data)
    assert used == {"name": f"{data} (train=)", "samples": TRAIN}
    assert f"{TRAIN} images of train= calibrate, {VALID} of valid= measure" in stderr
    assert SAME not in stderr
    measured = json.loads(run("valid", *DARKNET, "--data", data, "--json").stdout)
    assert measured["samples"] == VALID
    as_val = json.loads(run("valid", *DARKNET, "--val", data, "--json").stdout)
    assert as_val == measured


def test_the_accuracy_of_the_table_is_that_of_valid(data: Path) -> None:
    train = data.with_name("train.txt")
    for path in map(Path, train.read_text().split()):  # whoever measures on them finds 0 %
        path.rename(
            path.with_name(f"{path.stem.split('_')[0]}_no_of{(int(path.stem[-1]) + 1) % 10}.png")
        )
    names = "".join(f"{path}\n" for path in sorted(data.parent.glob("*_no_of*.png")))
    train.write_text(names)
    top = json.loads(run("valid", *DARKNET, "--data", data, "--json").stdout)["models"][0]["top_1"]
    found = run("prune", *DARKNET, "--data", data, "--rate", 0.2, "-o", data.parent / "o").stdout
    row = next(line for line in found.splitlines() if "Accuracy" in line)
    assert float(row.split("│")[2].split()[0]) == pytest.approx(100 * top, abs=0.01)


def test_other_data_to_measure_on(data: Path) -> None:
    only = data.with_name("only.data")
    only.write_text("classes=10\nvalid=train.txt\nlabels=names.txt\n")
    stderr, used = pruned(only)
    assert SAME in stderr
    assert used["samples"] == TRAIN
    for value, same in ((data, False), (only, True)):
        stderr, used = pruned(only, "--val", value)
        assert (SAME in stderr) is same
        assert used["samples"] == TRAIN
    out = data.parent / "out"
    stderr = run("transform", *DARKNET, "--plan", out / "plan.yaml", "--val", data,
                 "-o", data.parent / "t").stderr  # fmt: skip
    assert SAME not in stderr


def test_a_train_file_of_another_machine_is_done_without(data: Path) -> None:
    data.write_text(data.read_text().replace("train=train.txt", "train=/home/other/train.txt"))
    stderr, used = pruned(data)
    assert used == {"name": str(data), "samples": VALID}
    assert SAME in stderr


def test_rounds_and_curves_take_their_own_parts(data: Path) -> None:
    folder = data.parent
    found = json.loads(
        run("iterate", *DARKNET, "--data", data, "--rates", "0.1", "--criterion", "l1",
            "-o", folder / "rounds", "--json").stdout
    )  # fmt: skip
    assert (found["samples"], found["validation_samples"]) == (TRAIN, VALID)
    common = ("--rates", 0.5, "--json")
    own = json.loads(run("ana", *DARKNET, "--data", data, *common, "-o", folder / "one").stdout)
    assert own["samples"] == TRAIN
    apart = json.loads(
        run("ana", *DARKNET, "--data", data, "--val", data, *common, "-o", folder / "two").stdout
    )
    assert apart["samples"] == VALID


def test_a_gate_is_asked_of_what_is_measured(data: Path) -> None:
    plain = data.with_name("plain")
    plain.mkdir()
    (plain / "a.png").write_bytes(next(data.parent.glob("0_of*.png")).read_bytes())
    common = ("prune", *DARKNET, "--rate", 0.1, "--max-drop", 100, "-o", data.parent / "gate")
    assert "needs labelled data" in one_line(run(*common, "--data", plain, code=1))
    run(*common, "--data", plain, "--val", data)
