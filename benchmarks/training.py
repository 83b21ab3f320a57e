"""Images a second in training, beside a hand-written PyTorch loop of the same network.

    pip install 'secateur[train]'
    python benchmarks/training.py [lenet resnet20 tiny] [--batch 32] [--rounds 15] [--device cpu]

Both take the same batches, the same loss (softmax of labels) and the same optimiser (Adam): ours is
the network read from its files, its loss and its solver; the other one is a module written by hand
with `torch.optim.Adam`. They run in turn, a few steps each, in one process; the figures are the
medians over the rounds and the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import secateur
from secateur.core.finetune.stages import task_objectives
from secateur.core.finetune.targets import SHARES
from secateur.core.ir.network import Network, shape_of
from secateur.core.training.criterion import Criterion
from secateur.core.training.module import TrainingModule
from secateur.core.training.recipe import Rule
from secateur.core.training.solvers.adaptive import Adam
from secateur.core.training.solvers.schedule import Constant
from secateur.core.training.solvers.settings import Settings
from secateur.core.training.solvers.solver import Solver

ROOT = Path(__file__).resolve().parent.parent
RATE = 1e-4


class Block(nn.Module):
    """A residual block of ResNet-20; where it is smaller, channels are filled with 1x1 filters."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.short = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(y)) + self.short(x))


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def resnet20() -> nn.Module:
    widths = [16] * 3 + [32] * 3 + [64] * 3
    blocks, before = [], 16
    for width in widths:
        blocks.append(Block(before, width, 1 if width == before else 2))
        before = width
    head = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*head, *blocks, *tail)


def tiny() -> nn.Module:
    """Tiny Darknet: 3x3 and 1x1 convolutions with batch normalisation and leaky ReLU."""

    def unit(inputs: int, outputs: int, size: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, size, 1, size // 2, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]

    layers: list[nn.Module] = [*unit(3, 16, 3), nn.MaxPool2d(2, 2), *unit(16, 32, 3)]
    layers.append(nn.MaxPool2d(2, 2))
    before = 32
    for narrow, wide in ((16, 128), (32, 256), (64, 512)):
        for _ in range(2):
            layers += [*unit(before, narrow, 1), *unit(narrow, wide, 3)]
            before = wide
        if wide < 512:
            layers.append(nn.MaxPool2d(2, 2))
    layers += [*unit(512, 128, 1), nn.Conv2d(128, 1000, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network in files and the same by hand."""

    files: tuple[str, ...]
    by_hand: Callable[[], nn.Module]
    classes: int


CASES = {
    "lenet": Case(
        files=("lenet_mnist/lenet.prototxt", "lenet_mnist/lenet_iter_10000.caffemodel"),
        by_hand=lenet,
        classes=10,
    ),
    "resnet20": Case(
        files=(
            "resnet20_cifar10/res20_deploy.prototxt",
            "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel",
        ),
        by_hand=resnet20,
        classes=10,
    ),
    "tiny": Case(
        files=("tiny_darknet_imagenet/tiny.cfg", "tiny_darknet_imagenet/tiny.weights"),
        by_hand=tiny,
        classes=1000,
    ),
}

Step = Callable[[int], None]


def ours(network: Network, batches: Sequence[dict[str, Tensor]], device: str) -> Step:
    """Return a step of secateur's training: the network's operators, its loss and its solver."""
    module = TrainingModule(network, channels_last=True).to(device).train()
    criterion = Criterion(task_objectives(network, "label"))
    rules = [Rule(name=name) for name, _ in module.named_parameters()]
    solver = Solver(module, rules, Settings(method=Adam(first=0.9), schedule=Constant(base=RATE)))

    def step(number: int) -> None:
        criterion(module, batches[number % len(batches)]).total.backward()
        solver.step()

    return step


def theirs(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], device: str) -> Step:
    """Return a step of a loop as anybody writes it."""
    model = model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def step(number: int) -> None:
        x, y = batches[number % len(batches)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def timed(step: Step, steps: int, device: str) -> float:
    """Return the seconds of some steps."""
    start = time.perf_counter()
    for number in range(steps):
        step(number)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Time both in turn and print a line of the table."""
    case, batch, device = CASES[name], arguments.batch, arguments.device
    network = secateur.load(*(arguments.shared / "models" / file for file in case.files))
    (key,) = network.inputs
    shape = [batch, *(int(n) for n in shape_of(network.graph.inputs[0])[1:])]
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(shape, generator=generator).to(device) for _ in range(4)]
    labels = [torch.randint(case.classes, (batch,), generator=generator) for _ in range(4)]
    shares = [nn.functional.one_hot(y, case.classes).float().to(device) for y in labels]
    steps = {
        "secateur": ours(
            network, [{key: x, SHARES: y} for x, y in zip(images, shares, strict=True)], device
        ),
        "by hand": theirs(
            case.by_hand(),
            [(x.to(memory_format=torch.channels_last), y.to(device))
             for x, y in zip(images, labels, strict=True)],
            device,
        ),
    }  # fmt: skip
    count = max(2, round(arguments.seconds / max(timed(steps["by hand"], 3, device) / 3, 1e-6)))
    timed(steps["secateur"], 3, device)
    found: dict[str, list[float]] = {kind: [] for kind in steps}
    for turn in range(arguments.rounds):
        for kind in sorted(steps, reverse=bool(turn % 2)):
            found[kind].append(batch * count / timed(steps[kind], count, device))
    ratios = np.divide(found["secateur"], found["by hand"])
    print(
        f"| {name} | {statistics.median(found['secateur']):.0f} "
        f"| {statistics.median(found['by hand']):.0f} | {np.median(ratios):.2f} "
        f"| {np.quantile(ratios, 0.25):.2f} to {np.quantile(ratios, 0.75):.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=list(CASES), metavar="MODEL")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round, about")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    arguments = parser.parse_args()
    print(f"images a second, batches of {arguments.batch}, {torch.get_num_threads()} threads\n")
    print("| network | secateur | by hand | ratio | middle half |\n|---|---:|---:|---:|---:|")
    for name in arguments.models:
        compare(name, arguments)


if __name__ == "__main__":
    main()
