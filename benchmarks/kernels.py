"""Single kernels of a network that finds circles and squares in noise: LEAN beside norms alone.

The task is that of LEAN's repository, made anew: every pixel of a noisy picture is background,
circle or square. The network is a small residual one; all but its last convolution, of 1 × 1, are
pruned. Three ways lead to a network: kernels leave at once; they do, and training follows; or they
leave in steps, with training between them, as in the paper. Zeros are held in training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import torch
from torch.nn.functional import cross_entropy

import secateur
from secateur.core.criteria.kernels import METHODS, kernel_order
from secateur.core.finetune.preparation import zeros_of
from secateur.core.finetune.weights import hold
from secateur.core.ir.builder import Builder
from secateur.core.ir.digest import digest
from secateur.core.ir.network import BlobRef, LayerInfo, Network, blob_refs
from secateur.core.ir.rebuild import rebuild
from secateur.core.training.module import TrainingModule

SIZE, NOISE, CLASSES = 32, 1.0, 2
"""Pixels of a side; standard deviation of the noise on circles of brightness 1; kinds of pixels."""

WIDTH, DILATIONS = 16, (1, 2, 4, 1, 2, 4)
"""Channels, and dilations of the convolutions behind the first: two make a residual block."""

DEPTH, SCALES = 30, 10
"""Layers of the mixed-scale network, of one channel each, and the dilations that they go through.
The paper's has 50."""

BATCH, RATE = 16, 3e-3
"""Pictures of an update, and the highest learning rate."""

KEPT = (0.5, 0.2, 0.1, 0.05, 0.02)
"""Parts of the kernels that stay."""

SEEDS = 100
"""Added to the seed of a network for the pictures that it is trained on after pruning."""

TESTED, TEST_SEED = 200, 999
"""Pictures that the network is measured on, and what makes them others than those it learns."""

ONES = ("scale", "variance")
"""Parameters of normalisations that are 1 where they do nothing."""

LAST = "scores"
"""The layer that keeps all kernels."""


def pictures(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy pictures [count, 1, SIZE, SIZE], and whether each pixel lies in a circle."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    inside = np.zeros((count, SIZE, SIZE), np.int64)
    for picture in inside:
        for _ in range(generator.integers(1, 4)):
            y, x = generator.integers(0, SIZE, 2)
            radius = generator.integers(3, 8)
            picture[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 1
    noise = generator.normal(0.0, NOISE, inside.shape)
    return (inside + noise).astype(np.float32)[:, None], inside


class _Made:
    """A network in the making."""

    def __init__(self, seed: int) -> None:
        self.builder = Builder("shapes")
        self.generator = np.random.default_rng(seed)
        self.layers: list[LayerInfo] = []

    def parameter(self, array: np.ndarray, name: str) -> ir.Value:
        blob = BlobRef(len(self.layers), len(self.layers), name)
        return self.builder.parameter(array.astype(np.float32), blob)

    def conv(
        self, x: ir.Value, name: str, made: int, size: int = 3, dilation: int = 1, norm: bool = True
    ) -> ir.Value:
        """Return a convolution, and its normalisation if it has one."""
        b = self.builder
        b.layer, b.scope = len(self.layers), name
        read = int(x.shape[1])
        scale = np.sqrt(2.0 / (read * size * size))
        weight = self.generator.normal(0.0, scale, (made, read, size, size))
        y = b.op(
            "Conv", x, self.parameter(weight, "weight"),
            *([] if norm else [self.parameter(np.zeros(made), "bias")]),
            pads=[dilation * (size // 2)] * 4, dilations=[dilation] * 2,
        )  # fmt: skip
        if norm:
            arrays = {"scale": np.ones, "shift": np.zeros, "mean": np.zeros, "variance": np.ones}
            stored = [self.parameter(fill(made), each) for each, fill in arrays.items()]
            y = b.op("BatchNormalization", y, *stored)
        self.layers.append(LayerInfo(name=name, type="Conv", tops=(str(y.name),)))
        return y


def residual(made: _Made, x: ir.Value) -> ir.Value:
    """Return the features of three residual blocks with batch normalisation."""
    op = made.builder.op
    x = op("Relu", made.conv(x, "first", WIDTH))
    pairs = zip(DILATIONS[::2], DILATIONS[1::2], strict=True)
    for number, (one, other) in enumerate(pairs):
        y = op("Relu", made.conv(x, f"block{number}a", WIDTH, dilation=one))
        y = made.conv(y, f"block{number}b", WIDTH, dilation=other)
        x = op("Relu", op("Add", x, y))
    return x


def mixed_scale(made: _Made, x: ir.Value) -> ir.Value:
    """Return the features of a mixed-scale dense network: each layer reads all before it."""
    op = made.builder.op
    for number in range(DEPTH):
        y = made.conv(x, f"layer{number}", 1, dilation=number % SCALES + 1, norm=False)
        x = op("Concat", x, op("Relu", y), axis=1)
    return x


NETWORKS: dict[str, Callable[[_Made, ir.Value], ir.Value]] = {
    "mixed-scale": mixed_scale, "residual": residual,
}  # fmt: skip


def fresh(name: str, seed: int) -> Network:
    """Return a network with random weights."""
    made = _Made(seed)
    features = NETWORKS[name](made, made.builder.input("data", ("N", 1, SIZE, SIZE)))
    scores = made.conv(features, LAST, CLASSES, size=1, norm=False)
    model = made.builder.finish({"scores": scores})
    return Network(name=name, model=model, layers=tuple(made.layers))


def trained(network: Network, steps: int, rate: float, seed: int) -> Network:
    """Return the network after so many updates; kernels that are 0 stay 0."""
    module = TrainingModule(network, channels_last=True).train()
    masks = {name: torch.from_numpy(~zeros).float() for name, zeros in zeros_of(network).items()}
    solver = torch.optim.Adam(module.parameters(), lr=rate)
    course = torch.optim.lr_scheduler.OneCycleLR(solver, rate, total_steps=steps)
    for data, kinds in batches(seed, steps):
        solver.zero_grad()
        cross_entropy(module(data)["scores"], kinds).backward()
        solver.step()
        course.step()
        hold(module, masks)
    return module.network()


def batches(seed: int, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield pictures that are made as they are needed."""
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        data, kinds = pictures(generator, BATCH)
        yield torch.from_numpy(data), torch.from_numpy(kinds)


def f1(network: Network) -> float:
    """Return the F1 of the circles over the pixels of all test pictures."""
    data, kinds = pictures(np.random.default_rng(TEST_SEED), TESTED)
    module = TrainingModule(network).eval()
    with torch.no_grad():
        found = module(torch.from_numpy(data))["scores"].argmax(1).numpy()
    return 2 * int((found * kinds).sum()) / max(1, int(found.sum() + kinds.sum()))


def alive(network: Network) -> int:
    """Return how many kernels are on a way from the input to an output, the last layer's apart.

    A network of ones flows through: a kernel is on a way where it reads something and where
    something comes back to it.
    """
    changed = {}
    for name, value in network.graph.initializers.items():
        if not blob_refs(value):
            continue
        array = network.array(name)
        role = blob_refs(value)[0].name
        ones = (array != 0) if role == "weight" else np.full(array.shape, role in ONES)
        changed[name] = ones.astype(np.float32)
    module = TrainingModule(rebuild(network, tensors=changed)).double().eval()
    module(torch.ones(1, 1, SIZE, SIZE, dtype=torch.float64))["scores"].sum().backward()
    return sum(
        int(((module.tensor(name).grad * module.tensor(name)).abs().sum((2, 3)) > 0).sum())
        for name in changed
        if name.endswith("/weight") and not name.startswith(LAST)
    )


WAYS = ("at once", "trained after", "in steps")
"""How kernels leave. In steps: from each part of :data:`KEPT` to the next, with training between
them."""

Figures = dict[tuple[str, str], tuple[float, int]]
"""Way and method → F1, and how many kernels are on a way from the input to an output."""


def pruned(network: Network, kept: float, method: str) -> Network:
    return secateur.prune_kernels(network, kept, method, exclude=[LAST])


def compared(network: Network, steps: int, seed: int) -> Iterator[Figures]:
    """Yield what is left at each part of :data:`KEPT`.

    Args:
        network: the trained network.
        steps: updates of each training.
        seed: of the pictures that it is trained on.
    """
    known: dict[str, Network] = {}

    def further(sparse: Network) -> Network:
        """Return the trained network; what both methods made alike is trained once."""
        key = digest(sparse)
        if key not in known:
            known[key] = trained(sparse, steps, RATE / 3, seed)
        return known[key]

    stages = dict.fromkeys(METHODS, network)
    for kept in KEPT:
        found: Figures = {}
        for method in METHODS:
            once = pruned(network, kept, method)
            stages[method] = further(pruned(stages[method], kept, method))
            made = (once, further(once), stages[method])
            for way, one in zip(WAYS, made, strict=True):
                found[way, method] = f1(one), alive(one)
        yield found


def report(name: str, seeds: int, steps: int, tuning: int) -> None:
    """Train networks, prune them, and print the table of the means.

    Args:
        name: one of :data:`NETWORKS`.
        seeds: how many networks.
        steps: updates that each is trained for.
        tuning: updates of each training after pruning.
    """
    before, chained, count = [], [], 0
    runs: list[list[Figures]] = []
    for seed in range(seeds):
        network = trained(fresh(name, seed), steps, RATE, seed)
        order = kernel_order(network, exclude=[LAST])
        count = len(order)
        before.append(f1(network))
        chained.append(order.chained)
        print(f"{name}, seed {seed}: F1 {100 * before[-1]:.1f}", file=sys.stderr, flush=True)
        runs.append([])
        for found in compared(network, tuning, seed + SEEDS):
            runs[-1].append(found)
            print(found, file=sys.stderr, flush=True)
    print(
        f"\n{name}: {count} kernels, F1 {100 * np.mean(before):.1f} before pruning; "
        f"{np.mean(chained):.0f} kernels lie on chains longer than 1; mean of {seeds} networks\n"
    )
    columns = [(way, method) for way in WAYS for method in METHODS]
    head = [f"{way}, {method}" for way, method in columns]
    print(f"| kept | {' | '.join(head)} |\n|---|{'---:|' * len(head)}")
    for place, kept in enumerate(KEPT):
        cells = []
        for own in columns:
            values = np.array([run[place][own] for run in runs])
            spread = f" ± {100 * values[:, 0].std():.1f}" if seeds > 1 else ""
            cells.append(f"{100 * values[:, 0].mean():.1f}{spread} ({values[:, 1].mean():.0f})")
        print(f"| {kept:.0%} ({round(kept * count)}) | {' | '.join(cells)} |", flush=True)
