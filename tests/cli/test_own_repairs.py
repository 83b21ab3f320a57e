"""A command tells its own repairs, not those of the run that made the plan."""

from __future__ import annotations

from pathlib import Path

import yaml

from support.program import inside as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
IMAGES = str(FIXTURES / "calibration.npz")


def methods(folder: Path) -> list[str]:
    """Return which repairs the plan in a folder says were tried."""
    plan = yaml.safe_load((folder / "plan.yaml").read_text())
    return [record["method"] for record in plan.get("repair", ())]


def said(stderr: str) -> list[str]:
    """Return which repairs a command says it tried."""
    lines = [line for line in stderr.splitlines() if line.startswith("repair: ")]
    return [part.split()[0] for line in lines for part in line[8:].partition(";")[0].split(", ")]


def test_a_plan_with_repairs_is_carried_out_with_others(tmp_path: Path) -> None:
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    common = ("--criterion", "l1", "--data", IMAGES, "--limit", 40)
    first = run("prune", *CAFFE, "--rate", 0.3, *common, "-o", one).stderr
    assert said(first) == methods(one)
    assert "refit" in methods(one)
    plan = ("--plan", one / "plan.yaml")
    again = run("transform", *CAFFE, *plan, "-o", two).stderr
    assert said(again) == methods(two)
    assert "refit" not in methods(two)
    none = run("transform", *CAFFE, *plan, "--repair", "none", "-o", three).stderr
    assert said(none) == methods(three) == []
    assert "repair" not in yaml.safe_load((three / "plan.yaml").read_text())
