"""Does structured probabilistic pruning keep LeNet's accuracy, as its author's demo sets it up?

    python benchmarks/probabilistic.py lenet.prototxt lenet.caffemodel --train train.npz \\
        --test test.npz [--scale 0.00390625] [--exclude ip1] [--rates 0.88,0.96] [--epochs 5]

First its own unit: a column of a convolution's weights, one tap of one input channel over all
filters. Nine tenths of the columns of each convolution leave, which makes no file smaller, since a
channel goes only when all its columns do. Then whole channels, by `finetune --sparsify spp`. Each
stands beside the same number of units removed at once by their L1 norm, with the same training.
Figures are top-1 on the test data.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import secateur
from secateur.core.finetune.schedules.probabilistic import change_of
from secateur.core.training.module import TrainingModule

EVENTS, AIM, SURPLUS = 400, 0.9, 0.05
"""Events of a training, the part of the columns that leaves, and what Δ counts beside it."""


class Columns:
    """The columns of one convolution, their probabilities, and what is gone."""

    def __init__(self, weight: torch.Tensor):
        self.weight = weight
        self.count = weight[0].numel()
        self.leave = round(AIM * self.count)
        self.present = np.ones(self.count)
        self.gone = np.zeros(self.count, dtype=np.bool_)

    def scores(self) -> np.ndarray:
        """Return the L1 norm of each column."""
        return self.weight.detach().abs().flatten(1).sum(0).double().numpy()

    def change(self) -> None:
        """Carry out one event."""
        missing = self.leave - int(self.gone.sum())
        if missing <= 0:
            return
        left = np.flatnonzero(~self.gone)
        ranked = left[np.argsort(self.scores()[left], kind="stable")]
        aim = missing + SURPLUS * self.count
        ranks = np.arange(len(ranked), dtype=np.float64)
        delta = change_of(ranks, aim, largest=0.05, balance=0.25)
        self.present[ranked] = np.clip(self.present[ranked] - delta, 0.0, 1.0)
        self.gone[[k for k in ranked if self.present[k] == 0.0][:missing]] = True
        if self.gone.sum() == self.leave:
            self.present[~self.gone] = 1.0

    def at_once(self) -> None:
        """Remove the columns of the smallest norm."""
        self.gone[np.argsort(self.scores(), kind="stable")[: self.leave]] = True

    def mask(self, kept: np.ndarray) -> torch.Tensor:
        """Return a mask over columns in the shape of a filter."""
        return torch.from_numpy(kept).reshape(self.weight.shape[1:])


def batches(
    x: np.ndarray, y: np.ndarray, steps: int, size: int
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield shuffled batches."""
    generator = np.random.default_rng(0)
    order = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        if len(order) < size:
            order = generator.permutation(len(x))
        part, order = order[:size], order[size:]
        yield torch.from_numpy(x[part]), torch.from_numpy(y[part])


def by_columns(
    network: secateur.Network, x: np.ndarray, y: np.ndarray, steps: int, *, spp: bool
) -> tuple[secateur.Network, int]:
    """Return a network without most columns of its convolutions, and the steps until they left."""
    torch.manual_seed(0)
    module = TrainingModule(network).train()
    convolutions = [str(n.inputs[1].name) for n in network.graph if n.op_type == "Conv"]
    columns = [Columns(module.tensor(name)) for name in convolutions]
    scores = next(str(n.inputs[0].name) for n in network.graph if n.op_type == "Softmax")
    if not spp:
        for own in columns:
            own.at_once()
    solver = torch.optim.Adam(module.parameters(), lr=5e-4)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(solver, steps)
    generator = np.random.default_rng(0)
    done = 0
    (feed,) = network.inputs
    for step, (images, labels) in enumerate(batches(x, y, steps, 64)):
        if spp and step % max(1, steps // EVENTS) == 0:
            for own in columns:
                own.change()
        before = [own.weight.detach().clone() for own in columns]
        with torch.no_grad():
            for own in columns:
                own.weight.mul_(own.mask(generator.random(own.count) < own.present))
                own.weight.mul_(own.mask(~own.gone))
        loss = torch.nn.functional.cross_entropy(module({feed: images}, (scores,))[scores], labels)
        solver.zero_grad()
        loss.backward()
        with torch.no_grad():
            for own, weight in zip(columns, before, strict=True):
                own.weight.copy_(weight)
        solver.step()
        falling.step()
        with torch.no_grad():
            for own in columns:
                own.weight.mul_(own.mask(~own.gone))
        if not done and all(own.gone.sum() == own.leave for own in columns):
            done = step + 1
    return module.network(), done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs=2, type=Path)
    parser.add_argument("--train", required=True, type=Path)
    parser.add_argument("--test", required=True, type=Path)
    parser.add_argument("--scale", type=float, default=1 / 256)
    parser.add_argument("--exclude", nargs="*", default=["ip1"])
    parser.add_argument("--rates", default="0.88,0.96")
    parser.add_argument("--epochs", type=float, default=5.0)
    given = parser.parse_args()
    network = secateur.load(*given.model)
    train, test = (
        secateur.open_dataset(path, network, scale=given.scale)
        for path in (given.train, given.test)
    )

    def accuracy(found: secateur.Network) -> str:
        return f"{secateur.evaluate(found, test).value * 100:.2f} %"

    print(f"original {accuracy(network)}")
    with np.load(given.train) as arrays:
        x, y = arrays["x"].astype(np.float32) * np.float32(given.scale), arrays["y"]
    steps = round(given.epochs * len(x) / 64)
    for spp in (False, True):
        found, done = by_columns(network, x, y, steps, spp=spp)
        how = f"spp, all had left after {done} of {steps} steps" if spp else "at once by L1"
        print(f"{AIM:.0%} of the columns of each convolution, {how}: {accuracy(found)}", flush=True)
    usual = {"epochs": given.epochs, "batch_size": 64, "augment": "none", "measurements": 4}
    for rate in map(float, given.rates.split(",")):
        pruned = secateur.prune(
            network, rate=rate, criterion="l1", allocation="uniform", exclude=given.exclude,
            repair="none",
        )  # fmt: skip
        tuned = secateur.finetune(pruned.network, train, **usual)
        kept = ", ".join(f"{g.name} {g.kept} of {g.channels}" for g in pruned.plan.groups)
        print(f"{rate:.0%} of the operations ({kept}), at once by L1: {accuracy(tuned.network)}")
        for name in ("spp", "cubic", "greg", "increg"):
            how = secateur.SparsifyOptions(method=name, rate=rate, exclude=given.exclude)
            result = secateur.finetune(network, train, sparsify=how, **usual)
            assert result.plan is not None
            dense = secateur.densify(result.network, result.plan, repair="none").network
            print(f"  {name}: {accuracy(dense)}", flush=True)


if __name__ == "__main__":
    main()
