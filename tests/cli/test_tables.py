"""What tables say of models, of sparse ones and of latencies."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from support.program import inside as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
DATA = ("--data", FIXTURES / "shapes.npz", "--limit", 20)


def names(*arguments: object) -> list[str]:
    """Return the names of the models that `valid` measures."""
    content = json.loads(run("valid", *arguments, *DATA, "--json").stdout)
    return [model["name"] for model in content["models"]]


def test_titles_tell_models_apart(tmp_path: Path) -> None:
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
        for path in CAFFE:
            shutil.copy(path, tmp_path / folder)
    one, other = ([tmp_path / f / path.name for path in CAFFE] for f in ("before", "after"))
    single = names(*one)
    assert names(*one, *other) == [
        f"{single[0]} (before/shapes.prototxt)",
        f"{single[0]} (after/shapes.prototxt)",
    ]
    # Of models that share a text, the weights tell which is which.
    tuned = shutil.copy(CAFFE[1], tmp_path / "tuned.caffemodel")
    assert names(*one, one[0], tuned) == [
        f"{single[0]} (shapes.caffemodel)", f"{single[0]} (tuned.caffemodel)",
    ]  # fmt: skip
    assert names(*one, *one) == [f"{single[0]} (number 1)", f"{single[0]} (number 2)"]
    text = run("valid", *one, *other, *DATA).stdout
    assert "before/" in text.replace("\n", "")
    assert "after/" in text.replace("\n", "")
    if (darknet := names(*DARKNET)) != single:
        assert names(*one, *DARKNET) == [*single, *darknet]


def cells(text: str, item: str) -> list[str]:
    """Return the values in a row of a table."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"│ {item} "))
    return [cell.strip() for cell in row.split("│")[2:-1]]


@pytest.mark.parametrize("model", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_a_sparse_model_says_what_transform_will_give(model: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "sparse"
    sparse = run("prune", *model, "--rate", 0.4, "--mode", "sparse", "-o", out)
    assert cells(sparse.stdout, "Operations")[2] == "+0.0 %"
    plan = out / "plan.yaml"
    assert f"`secateur transform --plan {plan}` makes it small" in sparse.stderr
    files = [out / path.name for path in model]
    dense = run("transform", *files, "--plan", plan, "-o", tmp_path / "dense")
    for item in ("Operations", "Parameters"):
        promised = cells(sparse.stdout, f"{item}, transformed")
        assert promised == cells(dense.stdout, item)
        assert promised[2].startswith("-")
    assert "transformed" not in dense.stdout


def test_latency_is_told_with_its_interval(tmp_path: Path) -> None:
    found = run("prune", *CAFFE, "--rate", 0.4, "-o", tmp_path / "out")
    change = cells(found.stdout, "Latency")[2]
    line = next(line for line in found.stderr.splitlines() if line.startswith("latency: "))
    told, low, high = re.fullmatch(
        r"latency: (.+) \(([+-][\d.]+) % to ([+-][\d.]+) %, 95 % interval\)", line
    ).groups()
    assert told == change
    if 0.0 not in (float(low), float(high)):  # rounded: the side of 0 is not told
        assert (told == "no measurable change") is (float(low) < 0 < float(high))
