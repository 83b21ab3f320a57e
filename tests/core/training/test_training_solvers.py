"""Solvers: methods against PyTorch's, schedules, passes, limits, and going on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secateur.core.errors import DataError
from secateur.core.training.recipe import Rule
from secateur.core.training.solvers.adaptive import AdaDelta, AdaGrad, Adam, RMSProp
from secateur.core.training.solvers.schedule import (
    BurnIn,
    Constant,
    Cosine,
    Inverse,
    MultiStep,
    Polynomial,
    Random,
    Sigmoid,
    Step,
    Steps,
)
from secateur.core.training.solvers.settings import Settings
from secateur.core.training.solvers.sgd import Momentum, Nesterov, RatedMomentum
from support.training import need_torch


@pytest.fixture(scope="module", autouse=True)
def torch():
    return need_torch()


class Blobs:
    """Stands for a module: two parameters by name."""

    def __init__(self, torch):
        random = torch.Generator().manual_seed(0)
        self.named = {
            name: torch.nn.Parameter(torch.randn(shape, generator=random, dtype=torch.float64))
            for name, shape in (("a", (3, 4)), ("b", (4,)))
        }

    def tensor(self, name):
        return self.named[name]

    stored = tensor

    def parameters(self):
        return self.named.values()

    def loss(self, torch, number=0):
        x = torch.arange(3.0, dtype=torch.float64) + number
        return ((x @ self.named["a"] + self.named["b"]).tanh() ** 2).sum()


RULES = (Rule(name="a"), Rule(name="b"))


def solver_of(blobs, settings, rules=RULES, **more):
    from secateur.core.training.solvers.solver import Solver

    return Solver(blobs, rules, settings, **more)


def settings(method, **more):
    return Settings(method=method, schedule=Constant(base=0.1), **more)


SAME = [
    (Momentum(momentum=0.9), lambda o, p: o.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.02)),
    (Adam(first=0.9, second=0.99, delta=1e-3, inside=True),
     lambda o, p: o.Adam(p, lr=0.1, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.02)),
    (AdaGrad(delta=1e-8), lambda o, p: o.Adagrad(p, lr=0.1, eps=1e-8, weight_decay=0.02)),
    (RMSProp(share=0.9, delta=1e-4),
     lambda o, p: o.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-4, weight_decay=0.02)),
    (AdaDelta(share=0.9, delta=1e-6),
     lambda o, p: o.Adadelta(p, lr=0.1, rho=0.9, eps=1e-6, weight_decay=0.02)),
]  # fmt: skip


@pytest.mark.parametrize(("method", "other"), SAME, ids=lambda x: type(x).__name__)
def test_methods_are_those_of_pytorch(method, other, torch):
    ours, theirs = Blobs(torch), Blobs(torch)
    solver = solver_of(ours, settings(method, decay=0.02))
    optimiser = other(torch.optim, list(theirs.parameters()))
    for number in range(5):
        ours.loss(torch, number).backward()
        assert solver.step()
        optimiser.zero_grad()
        theirs.loss(torch, number).backward()
        optimiser.step()
    for name in ("a", "b"):
        torch.testing.assert_close(ours.tensor(name), theirs.tensor(name), rtol=1e-9, atol=1e-12)


def test_momentum_keeps_the_rate_of_its_time(torch):
    rated, plain = Blobs(torch), Blobs(torch)
    schedule = Step(base=1.0, factor=0.1, every=1)
    found = {}
    for name, blobs, method in (
        ("rated", rated, RatedMomentum(momentum=0.5)), ("plain", plain, Momentum(momentum=0.5)),
    ):  # fmt: skip
        solver = solver_of(blobs, Settings(method=method, schedule=schedule))
        before = blobs.tensor("b").detach().clone()
        for gradient in (1.0, 0.0):
            for blob in blobs.parameters():
                blob.grad = torch.full_like(blob, gradient)
            solver.step()
        found[name] = (before - blobs.tensor("b").detach())[0].item()
    assert found == {"rated": pytest.approx(1 + 0.5), "plain": pytest.approx(1 + 0.05)}


def test_nesterov_looks_ahead(torch):
    blobs = Blobs(torch)
    solver = solver_of(blobs, settings(Nesterov(momentum=0.9)))
    before = blobs.tensor("b").detach().clone()
    for blob in blobs.parameters():
        blob.grad = torch.ones_like(blob)
    solver.step()
    torch.testing.assert_close(before - blobs.tensor("b").detach(), torch.full_like(before, 0.19))


def test_gradients_of_passes_are_summed_then_divided(torch):
    one, two = Blobs(torch), Blobs(torch)
    whole = solver_of(one, settings(Momentum(), divisor=2))
    parts = solver_of(two, settings(Momentum(), divisor=2, passes=2))
    (one.loss(torch, 0) + one.loss(torch, 1)).backward()
    assert whole.step()
    two.loss(torch, 0).backward()
    assert not parts.step()
    two.loss(torch, 1).backward()
    assert parts.step()
    torch.testing.assert_close(one.tensor("a"), two.tensor("a"))
    assert two.tensor("a").grad is None


def test_the_norm_is_clipped_before_the_division(torch):
    blobs = Blobs(torch)
    solver = solver_of(blobs, settings(Momentum(), clip=1.0, divisor=2))
    before = {name: blob.detach().clone() for name, blob in blobs.named.items()}
    for blob in blobs.parameters():
        blob.grad = torch.full_like(blob, 3.0)
    solver.step()
    changes = torch.cat([(before[n] - b.detach()).flatten() for n, b in blobs.named.items()])
    assert changes.norm().item() == pytest.approx(0.1 * 1.0 / 2)


def test_rules(torch):
    blobs = Blobs(torch)
    rules = (
        Rule(name="a", rate=0.5, decay=2.0, clip=1.0),
        Rule(name="b", decay=0.0, limit=4.0, first=2),
    )
    solver = solver_of(
        blobs, settings(Momentum(momentum=0.9), decay=0.1, divisor=8, offset=1), rules
    )
    a, b = (blobs.tensor(name).detach().clone() for name in "ab")
    for blob in blobs.parameters():
        blob.grad = torch.full_like(blob, 80.0)
    solver.step()
    wanted = (a - 0.05 * (10 + 0.2 * a)).clamp(-1, 1)
    torch.testing.assert_close(blobs.tensor("a").detach(), wanted)
    assert torch.equal(blobs.tensor("b"), b)
    for blob in blobs.parameters():
        blob.grad = torch.full_like(blob, 80.0)
    solver.step()
    torch.testing.assert_close(blobs.tensor("b").detach(), b - 0.1 * 4 / 8)


def test_centred_gradients_have_no_mean(torch):
    blobs = Blobs(torch)
    solver = solver_of(blobs, settings(Momentum()), (Rule(name="a", centred=True),))
    before = blobs.tensor("a").detach().clone()
    blobs.tensor("a").grad = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    solver.step()
    change = before - blobs.tensor("a").detach()
    torch.testing.assert_close(change.mean(1), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(change[0], 0.1 * torch.tensor([-1.5, -0.5, 0.5, 1.5]).double())


@pytest.mark.parametrize(
    "method", [Adam(first=0.9), AdaDelta(share=0.9), RatedMomentum(momentum=0.9)]
)
def test_going_on_is_as_if_it_never_stopped(method, torch):
    schedule = MultiStep(base=0.1, factor=0.5, at=(1, 1, 3))
    whole, parts = Blobs(torch), Blobs(torch)
    every = Settings(method=method, schedule=schedule, decay=0.01)
    solver = solver_of(whole, every)
    for number in range(6):
        whole.loss(torch, number).backward()
        solver.step()
    other = solver_of(parts, every)
    for number in range(6):
        if number == 3:
            other = solver_of(parts, every, progress=other.progress)
        parts.loss(torch, number).backward()
        other.step()
    assert other.progress.updates == 6
    torch.testing.assert_close(whole.tensor("a"), parts.tensor("a"), rtol=0, atol=0)


def test_a_foreign_history_is_refused(torch):
    blobs = Blobs(torch)
    from secateur.core.training.solvers.solver import Progress

    with pytest.raises(DataError, match=r"holds 1 blobs of history, .* need 4"):
        solver_of(blobs, settings(Adam(first=0.9)), progress=Progress(history=(np.zeros(3),)))
    with pytest.raises(DataError, match="the history of 'a' holds 3 numbers, the blob 12"):
        solver_of(
            blobs, settings(Momentum()), progress=Progress(history=(np.zeros(3), np.zeros(4)))
        )


def test_seen_images_move_the_schedule(torch):
    blobs = Blobs(torch)
    schedule = Steps(base=1.0, at=(3,), factors=(0.5,))
    solver = solver_of(
        blobs,
        Settings(method=Momentum(), schedule=schedule, passes=2, offset=1, images=4),
        seen=6,
    )
    rates, seen = [], []
    for _ in range(4):
        rates.append(solver.rate)
        seen.append(solver.seen)
        for blob in blobs.parameters():
            blob.grad = torch.ones_like(blob)
        solver.step()
    assert seen == [8, 10, 12, 14]
    assert rates == [1.0, 1.0, 0.5, 0.5]


def test_schedules():
    assert MultiStep(base=1, factor=0.5, at=(2, 2, 2)).rates(6) == [1, 1, 0.5, 0.25, 0.125, 0.125]
    assert Step(base=1, factor=0.1, every=2).rates(4, first=1) == pytest.approx([1, 0.1, 0.1, 0.01])
    assert Inverse(base=1, factor=1, power=1).rate(3) == pytest.approx(0.25)
    assert Polynomial(base=2, power=2, length=4).rates(5) == pytest.approx(
        [2, 2 * 9 / 16, 0.5, 1 / 8, 0]
    )
    assert Polynomial(base=2, power=1.5, length=4).rate(5) == 0
    rising, late = (
        Sigmoid(base=1, factor=2, middle=3),
        Sigmoid(base=1, factor=-1, middle=3, late=True),
    )
    assert rising.rate(3) == 0.5
    assert rising.rate(4) > rising.rate(3)
    assert rising.rate(-10000) == pytest.approx(0)
    assert [late.rate(2), late.rate(3)] == [0, 0.5]
    warm = BurnIn(base=1, length=4, power=2, then=Constant(base=1))
    assert warm.rates(6) == [0, 1 / 16, 1 / 4, 9 / 16, 1, 1]
    wave = Cosine(base=1, least=0.2, cycle=4, factor=2)
    assert wave.rate(4) == pytest.approx(0.2)
    assert wave.rate(4 + 4) == pytest.approx(0.6, rel=1e-6)
    assert Random(base=1, power=1).rate(3) == Random(base=1, power=1).rate(3)
    assert not math.isclose(Random(base=1, power=1).rate(3), Random(base=1, power=1).rate(4))
