"""One step of training with files that were emitted, on made-up samples and labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import secateur
from secateur.core.ir.network import shape_of
from secateur.core.training.recipe import Start
from secateur.workflows.emitting import TrainingFiles

from .training import need_torch

SAMPLES = 2
DETECTORS = ("AnchorLoss", "GaussianLoss", "RegionLoss")


def begin(files: TrainingFiles, **settings: Any) -> Start:
    """Read emitted files for training."""
    return secateur.begin(*files.model.values(), solver=files.solver, **settings)


def step(
    start: Start, count: int = 1, passes: int | None = None
) -> tuple[list[float], secateur.Network]:
    """Return the losses of some steps, and the trained network.

    `passes` is the number of passes of a step, if not as many as the files say.
    """
    torch = need_torch()
    from secateur.core.training.criterion import Criterion
    from secateur.core.training.module import TrainingModule
    from secateur.core.training.solvers.solver import Solver

    torch.manual_seed(0)
    recipe = start.recipe
    assert recipe.settings is not None
    module = TrainingModule(
        start.network, statistics=recipe.statistics, frozen=recipe.frozen, passings=recipe.passings
    ).train()
    criterion = Criterion(recipe.objectives)
    settings = recipe.settings if passes is None else replace(recipe.settings, passes=passes)
    solver = Solver(module, recipe.rules, settings, seen=start.seen)
    batch = {name: torch.from_numpy(array) for name, array in samples(start).items()}
    losses = []
    for _ in range(count):
        for _ in range(settings.passes):
            loss = criterion(module, batch, seen=solver.seen)
            loss.total.backward()
            losses.append(float(loss.total.detach()))
            solver.step()
    return losses, start.finish(module.network(), solver.seen)


def samples(start: Start) -> dict[str, np.ndarray]:
    """Return inputs, and labels of the shape that each loss reads."""
    random = np.random.default_rng(0)
    found = {
        name: random.random((SAMPLES, *shape[1:]), np.float32)
        for name, shape in start.network.inputs.items()
    }
    values = start.network.values()
    for one in start.recipe.objectives:
        scores = [int(size) for size in shape_of(values[one.reads[0]])[1:]]
        found[one.reads[-1]] = _labels(type(one.loss).__name__, scores, random)
    return found


def _labels(loss: str, scores: list[int], random: np.random.Generator) -> np.ndarray:
    if loss == "MultiBoxLoss":
        rows = [[k, 1, 0, 0.2, 0.2, 0.6, 0.7, 0] for k in range(SAMPLES)]
        return np.array(rows, np.float32).reshape(1, 1, SAMPLES, 8)
    if loss in DETECTORS:
        return np.full((SAMPLES, 1, 5), [0.5, 0.5, 0.4, 0.3, 0], np.float32)
    if loss in ("EntropyLoss", "CostLoss"):
        return np.eye(int(np.prod(scores)), dtype=np.float32)[:SAMPLES]
    if loss == "SoftmaxLoss":
        return random.integers(0, scores[0], (SAMPLES, *(k for k in scores[1:] if k != 1)))
    return random.random((SAMPLES, *scores), np.float32)
