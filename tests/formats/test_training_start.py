"""Training a model of any format: the same loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import DataError, UnsupportedError
from secateur.formats.training import begin
from support.training import need_torch

FIXTURES = Path(__file__).parents[2] / "fixtures"
SOLVER = """
net: "net.prototxt" base_lr: 0.002 lr_policy: "fixed" momentum: 0.9 max_iter: 20
"""
LOSS = """
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "SCORES" bottom: "label" top: "loss" }
"""


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def caffe(folder: Path):
    """The fixture with a loss instead of its softmax, as the file of a training has it."""
    text = (FIXTURES / "shapes_caffe/shapes.prototxt").read_text()
    head, tail = text.split('layer {\n  name: "prob"')
    scores = tail.split('bottom: "')[1].split('"')[0]
    (folder / "train.prototxt").write_text(head + LOSS.replace("SCORES", scores))
    (folder / "solver.prototxt").write_text(SOLVER)
    return begin(
        folder / "train.prototxt", FIXTURES / "shapes_caffe/shapes.caffemodel",
        solver=folder / "solver.prototxt",
    )  # fmt: skip


def darknet(folder: Path):
    text = (FIXTURES / "shapes_darknet/shapes.cfg").read_text()
    keys = "[net]\nbatch=20\nsubdivisions=1\nlearning_rate=0.05\npolicy=constant"
    (folder / "train.cfg").write_text(text.replace("[net]", keys, 1))
    weights = FIXTURES / "shapes_darknet/shapes.weights"
    return begin(folder / "train.cfg", weights, flavour="alexeyab")


def batches(kind: str, torch):
    with np.load(FIXTURES / "shapes.npz") as stored:
        x, y = torch.from_numpy(stored["x"]), torch.from_numpy(stored["y"])
    for start in range(0, 200, 20):
        part = slice(start, start + 20)
        if kind == "darknet":
            truth = torch.nn.functional.one_hot(y[part], 10).float()
            yield {"data": x[part], "truth": truth}
        else:
            yield {"data": x[part], "label": y[part].float()}


@pytest.mark.parametrize("kind", ["caffe", "darknet"])
def test_a_pruned_network_learns_again(kind, torch, tmp_path):
    from secateur.core.training.criterion import Criterion
    from secateur.core.training.module import TrainingModule
    from secateur.core.training.solvers.solver import Solver

    start = (caffe if kind == "caffe" else darknet)(tmp_path)
    pruned = secateur.prune(start.network, rate=0.5, criterion="l1", repair="none").network
    # The recipe is by names, which pruning keeps.
    recipe = start.recipe
    module = TrainingModule(
        pruned, statistics=recipe.statistics, frozen=recipe.frozen, passings=recipe.passings
    ).train()
    criterion = Criterion(recipe.objectives)
    solver = Solver(module, recipe.rules, recipe.settings, seen=start.seen)
    losses = []
    for _ in range(3):
        for batch in batches(kind, torch):
            loss = criterion(module, batch, seen=solver.seen)
            loss.total.backward()
            solver.step()
            losses.append(float(loss.total.detach()))
    assert np.mean(losses[-8:]) < 0.5 * np.mean(losses[:8])
    trained = start.finish(module.network(), solver.seen)
    saved = secateur.save(trained, tmp_path / "out")
    again = secateur.load(*saved.paths)
    with torch.no_grad():
        output = list(trained.outputs)[-1] if kind == "darknet" else None
        if output is not None:
            x = next(batches(kind, torch))["data"]
            got = module.eval()(x, [output])[output]
            want = secateur.Session(again).run({"data": x.numpy()})[output]
            np.testing.assert_allclose(got.numpy(), want, atol=1e-5)
    assert saved.difference <= 1e-4


def test_a_batch_without_an_input_is_refused(torch, tmp_path):
    from secateur.core.training.module import TrainingModule

    with pytest.raises(DataError, match="the data holds no 'data', an input of the network"):
        TrainingModule(darknet(tmp_path).network)({})


def test_formats_without_losses_say_so(tmp_path):
    network = secateur.load(*sorted((FIXTURES / "shapes_caffe").iterdir()))
    (path,) = secateur.save(network, tmp_path / "net.onnx").paths
    with pytest.raises(UnsupportedError, match="onnx files hold no losses to train with"):
        begin(path)
    with pytest.raises(UnsupportedError, match="a cfg holds its own schedule"):
        begin(*sorted((FIXTURES / "shapes_darknet").iterdir()), solver=tmp_path / "solver.prototxt")
