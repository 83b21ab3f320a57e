"""`secateur prune` by criteria without gradients, in steps, and by allocations that measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from support.program import inside as run
from support.program import one_line

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
DATA = ["--data", FIXTURES / "shapes.npz", "--limit", 24]
NAMES = {"caffe": CAFFE, "darknet": DARKNET}


def plan_of(folder: Path) -> dict:
    return yaml.safe_load((folder / "plan.yaml").read_text())


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ["lamp", "similarity", "dfpc", "lean", "synflow"])
def test_weights_alone_are_enough(kind, name, tmp_path):
    result = run("prune", *NAMES[kind], "--rate", 0.4, "--criterion", name,
                 "--repair", "merge", "-o", tmp_path / "out")  # fmt: skip
    plan = plan_of(tmp_path / "out")
    assert plan["criterion"] == name
    assert 0.35 < plan["rate"]["achieved"] <= 0.4
    assert plan["proof"]["masked_equals_dense"] < 1e-4
    (record,) = plan["repair"]
    assert record["method"] == "merge"
    assert record["judged_on"].endswith("of noise")
    assert "merge" in result.stderr + result.stdout


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ["entropy", "particle"])
def test_criteria_that_need_data(kind, name, tmp_path):
    run("prune", *NAMES[kind], "--rate", 0.3, "--criterion", name, *DATA, "--repair", "none",
        "-o", tmp_path / "out")  # fmt: skip
    assert plan_of(tmp_path / "out")["criterion"] == name
    refused = run("prune", *NAMES[kind], "--rate", 0.3, "--criterion", name,
                  "-o", tmp_path / "no", code=1)  # fmt: skip
    assert f"criterion '{name}' needs data" in one_line(refused)
    assert not (tmp_path / "no").exists()


def test_steps_and_candidates_are_in_the_plan(tmp_path):
    settings = ["--rate", 0.4, "--criterion", "dfpc", "--steps", 3, "--allocation", "one-step",
                "--candidates", 2, *DATA, "--repair", "none"]  # fmt: skip
    for folder in ("one", "two"):
        run("prune", *CAFFE, *settings, "-o", tmp_path / folder)
    plan = plan_of(tmp_path / "one")
    assert (plan["steps"], plan["candidates"], plan["allocation"]) == (3, 2, "one-step")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    # A plan with these keys is read again.
    run("prune", *CAFFE, "--keep", tmp_path / "one" / "plan.yaml", "-o", tmp_path / "three")


@pytest.mark.parametrize(
    ("settings", "message", "code"),
    [
        (["--steps", 2, "--criterion", "obs"], "obs measures anew by itself", 2),
        (["--steps", 0], "at least one step", 2),
        (["--candidates", 5], "only the allocation one-step has candidates", 2),
        (["--criterion", "l1", "--allocation", "one-step"], "'one-step' measures on data", 1),
    ],
)
def test_what_contradicts_is_refused_in_one_line(settings, message, code, tmp_path):
    result = run("prune", *CAFFE, "--rate", 0.3, *settings, "-o", tmp_path / "out", code=code)
    assert message in one_line(result)
    assert not (tmp_path / "out").exists()


def onnx_file(path: Path) -> Path:
    """Write a small network with a sum, a depthwise layer and a join."""
    random = np.random.default_rng(0)
    shapes = {"a": (12, 3, 3, 3), "b": (12, 12, 3, 3), "d": (12, 1, 3, 3), "e": (4, 24, 1, 1)}
    weights = [
        numpy_helper.from_array((random.normal(size=shape) / 5).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["ya"], name="a", **pads),
        helper.make_node("Relu", ["ya"], ["ra"], name="ra"),
        helper.make_node("Conv", ["ra", "b"], ["yb"], name="b", **pads),
        helper.make_node("Add", ["ra", "yb"], ["s"], name="s"),
        helper.make_node("Conv", ["s", "d"], ["yd"], name="d", group=12, **pads),
        helper.make_node("Concat", ["yd", "s"], ["c"], name="c", axis=1),
        helper.make_node("Conv", ["c", "e"], ["y"], name="e"),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8])],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["lamp", "similarity", "dfpc", "lean", "synflow"])
def test_files_of_onnx(name, tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    run("prune", path, "--rate", 0.4, "--criterion", name, "--allocation", "isomorphic",
        "--repair", "merge", "-o", tmp_path / "out")  # fmt: skip
    plan = plan_of(tmp_path / "out")
    assert plan["allocation"] == "isomorphic"
    (written,) = (tmp_path / "out").glob("*.onnx")
    before, after = (
        sum(np.prod(t.dims) for t in onnx.load(file).graph.initializer) for file in (path, written)
    )
    assert after < before
