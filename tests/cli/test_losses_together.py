"""A threshold for each group alone: what groups lose together is predicted, measured and said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import secateur
from support.program import inside as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DATA = ("--data", str(FIXTURES / "shapes.npz"), "--limit", 60)
LOSS = 0.1


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ana")
    run("ana", *CAFFE, *DATA, "--rates", "0.2,0.4,0.6", "-o", folder)
    return folder


def test_the_sum_is_predicted_and_measured(curves: Path, tmp_path: Path) -> None:
    common = ("--analysis", curves, "--threshold", LOSS, "--no-repair", "-o", tmp_path / "out")
    result = run("prune", *CAFFE, *DATA, *common)
    lines = result.stderr.splitlines()
    (before,) = (line for line in lines if "add up to" in line)
    (after,) = (line for line in lines if "together, " in line)
    assert lines.index(before) < lines.index(after)
    analysis = secateur.load_analysis(curves)
    plan = secateur.load_plan(tmp_path / "out/plan.yaml")
    gone = {group.name: len(group.removed) for group in plan.groups if group.removed}
    total = sum(analysis.by_name(name).loss_at(count) for name, count in gone.items())
    assert f"the losses of {len(gone)} groups add up to {100 * total:.2f} points of Acc" in before
    assert "each alone may lose 10.00 points" in before
    row = next(line for line in result.stdout.splitlines() if "Accuracy" in line)
    drop = -float(row.split("│")[4])
    lost = float(re.search(r"groups lose (-?[\d.]+) points", after)[1])
    assert lost == pytest.approx(drop, abs=0.01)
    assert after.startswith("warning: ") is (lost > 10)
    assert ("leave --analysis out" in after) is (lost > 10)
    assert lost > 10  # the case that nobody was told of


def test_without_data_it_is_predicted(curves: Path, tmp_path: Path) -> None:
    common = ("--analysis", curves, "--threshold", LOSS, "-o", tmp_path / "out")
    stderr = run("prune", *CAFFE, *common).stderr
    assert "groups add up to" in stderr
    assert "together, " not in stderr


def test_a_rate_and_a_threshold_of_the_whole_say_nothing(curves: Path, tmp_path: Path) -> None:
    rate = run("prune", *CAFFE, "--analysis", curves, "--rate", 0.2, "-o", tmp_path / "rate")
    assert "add up to" not in rate.stderr
