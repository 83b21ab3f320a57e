"""Time and memory of every phase of a prune by OBS with repair, on large networks.

    python benchmarks/phases.py [NETWORK …] [--rate 0.5] [--images N] [--width F] [--side N]

ResNet-50, VGG-16, YOLOv4 and CIFAR's ResNet-56 get random weights and smooth random images; of
SqueezeNet, ../shared has weights and 800 photographs. Each network is pruned in a process of its
own. A phase is what a bar of `secateur prune` names last. Processor seconds are those of all
threads.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from large import Files, resnet50, resnet56, vgg16, yolov4

import secateur
from secateur.core.progress import label_parts

ROOT = Path(__file__).resolve().parent.parent

NETWORKS: dict[str, tuple[Callable[[Path, int, float], Files], int, int]] = {
    "resnet56": (resnet56, 32, 1024),
    "resnet50": (resnet50, 224, 64),
    "vgg16": (vgg16, 224, 64),
    "yolov4": (yolov4, 416, 64),
}
"""Name → what writes it, the side of its input, and the number of images."""

SQUEEZENET, PHOTOGRAPHS = "squeezenet", 800


@dataclass
class Phase:
    """What a phase took."""

    seconds: float = 0.0
    processor: float = 0.0
    peak: int = 0
    """Most bytes that the process held in memory at once during the phase."""


class Clock:
    """Sums up what passes between reports of progress, by phase."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = {}
        self._name = "before"
        self._last = time.perf_counter(), time.process_time()

    def __call__(self, label: str, done: int, total: int) -> None:  # noqa: ARG002
        name = label_parts(label)[0][-1]
        now = time.perf_counter(), time.process_time()
        phase = self.phases.setdefault(self._name, Phase())
        phase.seconds += now[0] - self._last[0]
        phase.processor += now[1] - self._last[1]
        phase.peak = max(phase.peak, _peak())
        if name != self._name:
            # The kernel's counter of the highest use starts again (proc(5)).
            Path("/proc/self/clear_refs").write_text("5")
        self._last, self._name = now, name


def _peak() -> int:
    """Return the most bytes that this process held at once since the counter started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def smooth(count: int, side: int) -> np.ndarray:
    """Return random images [count, 3, side, side]: noise of several sizes, added up."""
    generator = np.random.default_rng(0)
    images = np.zeros((count, side, side, 3), np.float32)
    for image in images:
        for cells in (3, 8, 20, side):
            noise = generator.normal(0.0, 50.0, (cells, cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def random_network(
    name: str, options: argparse.Namespace, folder: Path
) -> tuple[secateur.Network, np.ndarray]:
    """Return a network with random weights, and images for it."""
    write, side, count = NETWORKS[name]
    side = options.side or side
    network = secateur.load(*write(folder, side, options.width))
    return network, smooth(options.images or count, side)


def squeezenet(options: argparse.Namespace) -> tuple[secateur.Network, np.ndarray]:
    """Return SqueezeNet 1.1, and photographs."""
    folder = options.shared / "models/squeezenet_v1.1_imagenet"
    network = secateur.load(folder / "train_val.prototxt", folder / "squeezenet_v1.1.caffemodel")
    images = secateur.open_dataset(
        options.shared / "data/imagenet800", network, limit=options.images or PHOTOGRAPHS
    )
    return network, np.concatenate([next(iter(batch.inputs.values())) for batch in images])


def run(name: str, options: argparse.Namespace) -> None:
    """Prune one network, and print its phases."""
    with tempfile.TemporaryDirectory() as folder:
        if name == SQUEEZENET:
            network, images = squeezenet(options)
        else:
            network, images = random_network(name, options, Path(folder))
        began, clock = time.perf_counter(), Clock()
        secateur.prune(network, rate=options.rate, data=images, progress=clock)
        clock("end", 0, 0)
    whole = Phase(
        time.perf_counter() - began,
        sum(phase.processor for phase in clock.phases.values()),
        max(phase.peak for phase in clock.phases.values()),
    )
    print(f"\n{name}, {len(images)} images, −{100 * options.rate:.0f} %")
    print(f"{'':<24}{'seconds':>10}{'processor':>12}{'peak GB':>10}")
    for title, phase in [*clock.phases.items(), ("all", whole)]:
        print(
            f"{title:<24}{phase.seconds:>10.1f}{phase.processor:>12.1f}{phase.peak / 1e9:>10.2f}",
            flush=True,
        )


def main() -> None:
    """Run every network in a process of its own: the peak of memory is its own then."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*NETWORKS, SQUEEZENET]
    parser.add_argument("networks", nargs="*", default=names, metavar="NETWORK")
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--width", type=float, default=1.0, help="factor of all channels")
    parser.add_argument("--side", type=int, default=0, help="side of the input")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    for name in options.networks:
        if name not in names:
            sys.exit(f"no such network: {name}; there are {', '.join(names)}")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(run, name, options).result()


if __name__ == "__main__":
    main()
