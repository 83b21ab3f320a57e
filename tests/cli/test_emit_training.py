"""`secateur prune --emit-training`, a training elsewhere, and `secateur transform` behind it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur
from secateur.core.ir.rebuild import rebuild
from support.program import one_line, run
from support.training_step import step

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]


def trained(folder: Path, name: str) -> Path:
    """Train with emitted files for some steps, without masks, and write what a framework would."""
    model = [path for end in (".caffemodel", ".prototxt", ".cfg", ".weights")
             for path in folder.glob(f"*{end}") if path.name != "solver.prototxt"]  # fmt: skip
    solver = folder / "solver.prototxt"
    start = secateur.begin(*model, solver=solver if solver.exists() else None)
    losses, network = step(start, 4, passes=1)
    assert np.isfinite(losses).all()
    assert network.source is not None
    written = network.source.render(network)
    path = folder / name
    path.parent.mkdir()
    path.write_bytes(written[path.suffix])
    return path


def test_caffe_round_trip(tmp_path: Path) -> None:
    out, folder = tmp_path / "pruned", tmp_path / "train"
    said = run(
        "prune", *CAFFE, "--rate", 0.4, "--criterion", "l1", "-o", out, "--emit-training", folder,
    ).stderr  # fmt: skip
    assert "training: the loss is softmax over 10 classes (SoftmaxWithLoss)" in said
    assert "fill in: train_val.prototxt: FILL-IN/train_lmdb" in said.replace("\n", " ")
    weights = trained(folder, "snapshots/shapes_iter_4.caffemodel")
    back = (folder / "README.txt").read_text()
    assert f"secateur transform {out}/shapes.prototxt {folder}/snapshots/shapes_iter_" in back
    result = run("transform", out / "shapes.prototxt", weights, "-o", tmp_path / "final",
                 "--data", FIXTURES / "shapes.npz")  # fmt: skip
    assert "nothing is removed: no plan is given" in result.stderr
    assert "Top-1" in result.stdout
    final = [tmp_path / "final" / name for name in ("shapes.prototxt", "shapes_iter_4.caffemodel")]
    before, after = (
        secateur.load(out / "shapes.prototxt", out / CAFFE[1].name),
        secateur.load(*final),
    )
    moved = [not np.array_equal(before.array(n), after.array(n)) for n in before.graph.initializers]
    assert sum(moved) > 6
    x = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    net = cv2.dnn.readNetFromCaffe(*map(str, final))
    net.setInput(x)
    (want,) = secateur.Session(after).run({"data": x}).values()
    np.testing.assert_allclose(net.forward(), want, atol=1e-5)


def test_darknet_round_trip_by_our_own_trainer(tmp_path: Path) -> None:
    out, folder = tmp_path / "pruned", tmp_path / "train"
    run("prune", *DARKNET, "--rate", 0.4, "--criterion", "l1", "-o", out, "--emit-training", folder)
    weights = trained(folder, "backup/shapes.weights")
    assert int.from_bytes(weights.read_bytes()[12:20], "little") > 0
    result = run("transform", out / "shapes.cfg", weights, "--plan", out / "plan.yaml",
                 "-o", tmp_path / "final")  # fmt: skip
    assert "nothing is removed: the channels of the plan are gone already" in result.stderr
    run("compare", out / "shapes.cfg", weights, *(tmp_path / "final").iterdir())
    net = cv2.dnn.readNetFromDarknet(*map(str, sorted((tmp_path / "final").iterdir())))
    x = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    net.setInput(x)
    (want,) = (
        secateur.Session(secateur.load(*(tmp_path / "final").iterdir())).run({"data": x}).values()
    )
    np.testing.assert_allclose(net.forward().ravel(), want.ravel(), atol=1e-4)


def test_a_sparse_model_keeps_its_zeros_and_what_grew_back_is_told(tmp_path: Path) -> None:
    out, folder = tmp_path / "sparse", tmp_path / "train"
    plan = out / "plan.yaml"
    run(
        "prune", *CAFFE, "--rate", 0.4, "--criterion", "l1", "--mode", "sparse", "-o", out,
        "--emit-training", folder,
    )  # fmt: skip
    assert f"--plan {plan}" in (folder / "README.txt").read_text()
    weights = trained(folder, "snapshots/shapes_iter_4.caffemodel")
    run("transform", CAFFE[0], weights, "--plan", plan, "-o", tmp_path / "dense")
    assert (tmp_path / "dense" / weights.name).stat().st_size < 0.8 * CAFFE[1].stat().st_size
    grown = secateur.load(CAFFE[0], weights)
    name = next(n for n in grown.graph.initializers if grown.array(n).ndim == 4)
    noise = np.random.default_rng(0).normal(0, 0.05, grown.array(name).shape)
    tensors = {name: grown.array(name) + noise.astype(np.float32)}
    secateur.save(rebuild(grown, tensors=tensors), tmp_path / "grown")
    again = [*sorted((tmp_path / "grown").iterdir())]
    refused = run("transform", *again, "--plan", plan, "-o", tmp_path / "x", code=1)
    assert "channels that the plan removes carry weight in" in one_line(refused)
    assert "%" in one_line(refused)
    forced = run("transform", *again, "--plan", plan, "--force", "-o", tmp_path / "x")
    assert "carry weight" in forced.stderr


def test_trained_weights_are_checked(tmp_path: Path) -> None:
    out = tmp_path / "pruned"
    run("prune", *CAFFE, "--rate", 0.4, "--criterion", "l1", "-o", out)
    small, plan = out / "shapes.prototxt", out / "plan.yaml"
    weights = out / "shapes.caffemodel"
    swapped = run("transform", CAFFE[0], weights, "--plan", plan, "-o", tmp_path / "x", code=1)
    assert "weights that were trained after pruning go with the pruned text" in one_line(swapped)
    network = secateur.load(small, weights)
    name = next(n for n in network.graph.initializers if network.array(n).ndim == 4)
    values = np.full_like(network.array(name), np.nan)
    source = network.source
    assert source is not None
    written = source.render(rebuild(network, tensors={name: values}))
    (tmp_path / "nan.caffemodel").write_bytes(written[".caffemodel"])
    astray = run("transform", small, tmp_path / "nan.caffemodel", "-o", tmp_path / "x", code=1)
    assert "holds NaN or infinite values: the training diverged" in astray.stderr
    idle = run("transform", small, weights, "--force", "-o", tmp_path / "x", code=1)
    assert "there is nothing to remove" in one_line(idle)
    assert not (tmp_path / "x").exists()


def test_what_is_wrong_is_told_before_pruning(tmp_path: Path) -> None:
    rate = ("--rate", 0.4, "-o", tmp_path / "out")
    folder = ("--emit-training", tmp_path / "out")
    said = one_line(run("prune", *CAFFE, *rate, *folder, code=1))
    assert "cannot stand in the folder of the model" in said
    said = one_line(run("prune", *CAFFE, *rate, "--solver", tmp_path / "s.prototxt", code=1))
    assert "a solver is used with --emit-training only" in said
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "solver.prototxt").write_text("mine")
    said = one_line(run("prune", *CAFFE, *rate, "--emit-training", tmp_path / "full", code=1))
    assert "the folder for training is not empty" in said
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "solver.prototxt").read_text() == "mine"


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_the_same_call_writes_the_same_bytes(files: list[Path], tmp_path: Path) -> None:
    network = secateur.load(*files)
    for name in ("a", "b"):
        secateur.emit_training(network, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        one, other = path.read_bytes(), (tmp_path / "b" / path.name).read_bytes()
        assert one.replace(b"/a/", b"/b/") == other
