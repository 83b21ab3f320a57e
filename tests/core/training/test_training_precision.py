"""Gradients in 16 bits: small ones are kept, and updates with too large ones are left out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secateur.core.ir.builder import Builder
from secateur.core.ir.network import BlobRef, LayerInfo, Network
from secateur.core.training import precision
from secateur.core.training.criterion import Criterion
from secateur.core.training.losses.euclidean import EuclideanLoss
from secateur.core.training.module import TrainingModule
from secateur.core.training.precision import Scaling, gradients
from secateur.core.training.recipe import Objective, Rule
from secateur.core.training.solvers.schedule import Steps
from secateur.core.training.solvers.settings import Settings
from secateur.core.training.solvers.sgd import Momentum
from secateur.core.training.solvers.solver import Solver
from support.training import need_torch


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


def network() -> Network:
    net = Builder("net")
    net.layer, net.scope = 0, "layer"
    x = net.input("x", ["N", 3])
    for name in ("first", "last"):
        x = net.op("MatMul", x, net.parameter(np.eye(3, dtype=np.float32), BlobRef(0, 0, name)))
    model = net.finish({"y": x})
    info = LayerInfo(name="layer", type="Test", tops=("y",))
    return Network(name="net", model=model, layers=(info,))


def gradient(torch, kind: str, target: float, factor: float = 1.0):
    module = TrainingModule(network()).train()
    criterion = Criterion([Objective(name="l", loss=EuclideanLoss(), reads=("y", "t"))])
    ones = torch.ones(2, 3)
    batch = {"x": ones, "t": ones + target}
    loss = gradients(module, criterion, batch, precision=kind, factor=factor)
    assert loss == pytest.approx(1.5 * target**2, rel=1e-2, abs=1e-3)
    return module


def test_gradients_that_float16_cannot_hold_are_kept(torch):
    """The gradient of each output is 2⁻²⁶, below the least number of float16."""
    target = 2.0**-25
    want = gradient(torch, "float32", target).tensor("layer/first").grad
    assert want.abs().min() == 0  # 1 − 2⁻²⁵ is 1 in float32, too
    target = 2.0**-10
    want = gradient(torch, "float32", target).tensor("layer/first").grad
    small = TrainingModule(network()).train()
    del small
    scaling = Scaling()
    module = gradient(torch, "float16", target, scaling.factor)
    assert module.tensor("layer/first").dtype == torch.float32
    assert scaling.finite(module)
    torch.testing.assert_close(module.tensor("layer/first").grad, want, rtol=1e-2, atol=0)


def test_too_large_gradients_lower_the_factor(torch):
    scaling = Scaling()
    module = gradient(torch, "float16", 3.0, scaling.factor)
    assert not scaling.finite(module)
    assert scaling.state == (precision.FIRST / 2, 0, 1)
    assert not scaling.lost
    module = gradient(torch, "float16", 3.0, scaling.factor / 4)
    assert Scaling(scaling.factor / 4).finite(module)


def test_the_factor_rises_after_many_sound_updates(torch):
    scaling = Scaling(factor=8.0, good=precision.PATIENCE - 2)
    module = gradient(torch, "float32", 1.0)
    for factor in (8.0, 16.0):
        module.tensor("layer/first").grad = torch.full((3, 3), scaling.factor)
        module.tensor("layer/last").grad = None
        assert scaling.finite(module)
        np.testing.assert_array_equal(module.tensor("layer/first").grad, np.ones((3, 3)))
        assert scaling.factor == factor
    assert scaling.state == (16.0, 0, 0)


def test_gradients_without_end_are_not_waited_for(torch):
    scaling = Scaling(factor=1.0)
    module = gradient(torch, "float32", 1.0)
    module.tensor("layer/last").grad[1, 1] = math.nan
    assert not scaling.finite(module)
    assert scaling.lost


def test_an_update_that_is_left_out_lets_the_schedule_go_on(torch):
    schedule = Steps(base=1.0, at=(2,), factors=(0.1,))
    module = gradient(torch, "float32", 1.0)
    settings = Settings(method=Momentum(), schedule=schedule, passes=2, images=4)
    solver = Solver(module, [Rule(name="layer/first")], settings)
    assert not solver.step()
    solver.skip()
    assert solver.updates == 1
    assert solver.seen == 4 + 2
    assert module.tensor("layer/first").grad is None
    np.testing.assert_array_equal(module.tensor("layer/first").detach(), np.eye(3))
    assert not solver.step()
    solver.skip()
    assert solver.rate == pytest.approx(0.1)
