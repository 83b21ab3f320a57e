"""`--json`: one document on standard output, as docs/output.schema.json says, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from secateur.cli.main import NAMES
from support.pipelines import lenet_pipeline
from support.program import inside
from support.training import need_torch

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
DATA = ["--data", str(FIXTURES / "shapes.npz"), "--limit", "12"]
PRUNE = ["--rate", "0.3", "--criterion", "l1", "--repair", "none"]
PUBLISHED = json.loads((ROOT / "docs/output.schema.json").read_text(encoding="utf-8"))

ALONE: dict[str, Sequence[str]] = {
    "inspect": [*CAFFE],
    "inspect (for an engine)": [*CAFFE, "--target", "dpu-b4096"],
    "stat": [*CAFFE],
    "latency": [*CAFFE, *DARKNET, "--engines", "onnxruntime", "--seconds", "0.1"],
    "convert": [*CAFFE, "-o", "{out}/net.onnx"],
    "ana": [*CAFFE, *DATA, "--rates", "0.5", "-o", "{out}"],
    "prune": [*CAFFE, *DATA, *PRUNE, "-o", "{out}"],
    "prune (without data)": [*CAFFE, *PRUNE, "-o", "{out}"],
    "prune (for training)": [
        *CAFFE, *PRUNE, "-o", "{out}", "--emit-training", "{out}-train",
    ],
    "study": [
        *CAFFE, *DATA[:2], "--limit", "60", "--rates", "0.3,0.99", "--methods", "l1", "--repair",
        "none", "--low-data", "1", "--seeds", "2", "-o", "{out}",
    ],
    "iterate": [*CAFFE, *DATA, "--rates", "0.2", "--criterion", "l1", "-o", "{out}"],
    "compare": [*CAFFE, *CAFFE],
    "diff": [*CAFFE, *CAFFE, "--all"],
    "valid": [*CAFFE, *DATA, "--per-class"],
    "predict": [*CAFFE, *DATA],
    "predict (two)": [*CAFFE, *CAFFE, *DATA, "-o", "{out}"],
    "targets": [],
    "targets NAME": ["dpu-b4096"],
    "data check": [DATA[1], *CAFFE],
    "schema": [],
    "schema (output)": ["output"],
    "completion": ["bash"],
    "init": [*CAFFE, *DATA[:2], "-o", "{out}.yaml"],
}  # fmt: skip
"""Command, and what is special of a case → its arguments."""

ELSEWHERE = ("run", "run --dry-run", "finetune", "transform", "map")
"""Commands that need more than fixtures, with tests of their own below."""


def document(command: str, arguments: Sequence[object], code: int = 0) -> Any:
    """Return what a command prints, checked against the schema."""
    words = command.removesuffix(" NAME").removesuffix(" --dry-run").split()
    result = inside(*words, *arguments, "--json", code=code)
    content = json.loads(result.stdout, parse_constant=pytest.fail)  # NaN is no JSON
    schema = {"$ref": f"#/$defs/{command.replace(' ', '%20')}", "$defs": PUBLISHED["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(content)
    return content


@pytest.mark.parametrize("case", ALONE)
def test_output_is_as_the_schema_says(case, tmp_path):
    command = case.partition(" (")[0]
    arguments = [text.format(out=tmp_path / "out") for text in ALONE[case]]
    assert document(command, arguments)


def test_every_command_has_a_case_and_a_definition():
    cases = {case.partition(" (")[0] for case in ALONE} | set(ELSEWHERE)
    assert cases == set(PUBLISHED["$defs"])
    assert {names[0] for names in NAMES} <= cases
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)


def test_the_published_schema_is_current():
    """`secateur schema output > docs/output.schema.json` writes it anew."""
    assert json.loads(inside("schema", "output").stdout) == PUBLISHED


def test_figures_are_those_of_the_files(tmp_path):
    found = document("prune", [*CAFFE, *DATA, *PRUNE, "-o", tmp_path])
    rows = {row["item"]: row for row in found["rows"]}
    size = sum(Path(path).stat().st_size for path in CAFFE)
    assert rows["File size"]["before"] == size
    written = [entry for entry in found["files"] if Path(entry["path"]).is_file()]
    assert rows["File size"]["after"] == sum(entry["bytes"] for entry in written)
    change = rows["Operations"]["after"] / rows["Operations"]["before"] - 1
    assert rows["Operations"]["change"] == pytest.approx(change)
    assert -change == pytest.approx(found["rate"], abs=1e-4)
    assert Path(found["plan"]).is_file()
    assert found["verification"]["masked_equals_dense"] < 1e-4


def test_a_study_tells_of_each_point_and_of_what_failed(tmp_path):
    found = document("study", [text.format(out=tmp_path) for text in ALONE["study"]])
    assert {point["images"] for point in found["points"]} == {None, 1}
    failed = [point for point in found["points"] if point["measured"] is None]
    assert {point["rate"] for point in failed} == {0.99}
    assert found["options"]["limits"]["round_to"] == "auto"


def test_latency_tells_the_change_of_all_models_but_the_first():
    ((found,)) = document("latency", ALONE["latency"])
    assert ["change" in model for model in found["models"]] == [False, True]


def test_models_that_differ_are_printed_before_the_exit_code(tmp_path):
    document("prune", [*CAFFE, *PRUNE, "-o", tmp_path])
    small = [tmp_path / "shapes.prototxt", tmp_path / "shapes.caffemodel"]
    found = document("compare", [*CAFFE, *small], code=3)
    assert found["within"] is False
    assert found["outputs"][0]["relative"] > found["tolerance"]


def test_transform_carries_out_a_plan_and_takes_weights_over(tmp_path):
    sparse, dense = tmp_path / "sparse", tmp_path / "dense"
    document("prune", [*CAFFE, *PRUNE, "--mode", "sparse", "-o", sparse])
    files = [sparse / "shapes.prototxt", sparse / "shapes.caffemodel"]
    found = document("transform", [*files, "--plan", sparse / "plan.yaml", "-o", dense])
    assert found["removed"] > 0
    files = [dense / "shapes.prototxt", dense / "shapes.caffemodel"]
    found = document("transform", [*files, *DATA, "-o", tmp_path / "again"])
    assert found["removed"] == 0
    assert found["figures"]["samples"] == 12


def test_a_pipeline_and_its_forecast(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    assert [step["runs"] for step in document("run --dry-run", [file, "--dry-run"])["steps"]]
    assert all(step["ran"] for step in document("run", [file])["steps"])


def test_a_training(tmp_path):
    need_torch()
    found = document("finetune", [*CAFFE, *DATA, "--steps", 2, "--batch-size", 4, "-o", tmp_path])
    assert found["batch"] == 4


def test_detectors(shared, tmp_path):
    model = shared / "models/yolo_fastest_1.1_coco"
    files = [model / f"yolo-fastest-1.1.{end}" for end in ("cfg", "weights")]
    images = sorted((shared / "data/coco/val2017/images").glob("*.jpg"))[:2]
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in images))
    found = document("map", [*files, "--data", tmp_path / "list.txt"])
    assert found["samples"] == 2
    assert np.isfinite(found["models"][0]["map"])
