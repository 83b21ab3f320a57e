"""`secateur diff`: what people and programs are told of two models."""

from __future__ import annotations

import json
from pathlib import Path

from support.program import one_line, run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]


def test_the_same_model():
    result = run("diff", *CAFFE, *CAFFE)
    assert result.stdout == ""
    assert result.stderr.strip() == "no difference"


def test_all_lists_what_is_the_same():
    result = run("diff", *DARKNET, *DARKNET, "--all")
    assert "convolutional" in result.stdout
    assert "rolling_mean" in result.stdout


def test_a_pruned_model(tmp_path):
    run("prune", *DARKNET, "--rate", 0.3, "--criterion", "l1", "-o", tmp_path, "--quiet")
    small = [tmp_path / Path(file).name for file in DARKNET]
    result = run("diff", *DARKNET, *small)
    assert "- filters=24" in result.stdout
    assert "layers differ; operations: " in result.stderr
    data = json.loads(run("diff", *DARKNET, *small, "--json").stdout)
    assert not data["same"]
    changed = [layer for layer in data["layers"] if not layer["same"]]
    assert f"{len(changed)} of {len(data['layers'])} layers differ" in result.stderr
    assert all(
        layer["before"]["shape"] != layer["after"]["shape"] or layer["weights"] for layer in changed
    )


def test_two_formats(tmp_path):
    run("convert", *CAFFE, "-o", tmp_path / "net.onnx")
    assert "texts were not compared" in run("diff", *CAFFE, tmp_path / "net.onnx").stderr


def test_one_model_is_too_few():
    assert "two models are needed, got 1" in one_line(run("diff", *CAFFE, code=2))
