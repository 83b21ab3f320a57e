"""The plain loop and ours, side by side: how long the sensitivity of every group takes.

    python benchmarks/analysis.py [--every K] [--models lenet,squeezenet,yolo-fastest]

Plain loop: for each group × rate, zero the channels, rebuild, make a session on all cores, run all
data. Ours: `secateur.analyze`, once with complete curves and once with a threshold of 0.01 as
`prune --threshold` needs them. Every point that both measured must agree; the decisions of the
threshold (how many channels leave each group) are read off both. The plain loop is timed on every
K-th point, which takes each group and each rate equally often, and scaled up (--every 1 for all of
them; only then are all decisions compared). Needs the reference models (SECATEUR_SHARED).
"""

from __future__ import annotations

import argparse
import gzip
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import secateur
from secateur.core.allocation.threshold import threshold
from secateur.core.analysis import Analysis, Point, analyze
from secateur.core.channels import Groups, find_groups
from secateur.core.data import Dataset
from secateur.core.evaluate import evaluate
from secateur.core.ir.network import Network
from secateur.core.session import cores
from secateur.core.transform import mask

SHARED = Path(os.environ.get("SECATEUR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
LOSS = 0.01


def lenet(folder: Path) -> tuple[Network, Dataset]:
    models = SHARED / "models/lenet_mnist"
    network = secateur.load(models / "lenet.prototxt", models / "lenet_iter_10000.caffemodel")
    raw = [
        gzip.decompress((SHARED / "data/mnist" / f"t10k-{name}.gz").read_bytes())
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    x = np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 1, 28, 28)
    y = np.frombuffer(raw[1], np.uint8, offset=8).astype(np.int64)
    np.savez(folder / "mnist.npz", x=(x / 256).astype(np.float32), y=y)
    return network, secateur.open_dataset(folder / "mnist.npz", network)


def squeezenet(folder: Path) -> tuple[Network, Dataset]:
    models, images = SHARED / "models/squeezenet_v1.1_imagenet", SHARED / "data/imagenet200"
    network = secateur.load(models / "train_val.prototxt", models / "squeezenet_v1.1.caffemodel")
    lines = [line.split()[:2] for line in (images / "labels.txt").read_text().splitlines()]
    (folder / "list.txt").write_text("".join(f"{name} {label}\n" for name, label in lines))
    return network, secateur.open_dataset(folder / "list.txt", network, root=images)


def yolo_fastest(folder: Path) -> tuple[Network, Dataset]:  # noqa: ARG001  # as the others
    models = SHARED / "models/yolo_fastest_1.1_coco"
    network = secateur.load(models / "yolo-fastest-1.1.cfg", models / "yolo-fastest-1.1.weights")
    return network, secateur.open_dataset(SHARED / "data/coco/val2017/images", network)


MODELS: dict[str, Callable[[Path], tuple[Network, Dataset]]] = {
    "lenet": lenet,
    "squeezenet": squeezenet,
    "yolo-fastest": yolo_fastest,
}


@dataclass(frozen=True, slots=True)
class Plain:
    """What the plain loop gave: seconds for all points, and the losses of those it measured."""

    seconds: float
    measured: int
    losses: dict[tuple[str, float], float]


def plain_loop(
    network: Network, data: Dataset, groups: Groups, analysis: Analysis, every: int
) -> Plain:
    points = [(group, point) for group in analysis.groups for point in group.points]
    began = time.perf_counter()
    baseline = evaluate(network, data).value
    first = time.perf_counter() - began
    losses = {}
    for entry, point in points[::every]:
        group = groups.by_name(entry.name)
        assert group is not None
        removed = np.zeros(groups.number, np.bool_)
        removed[[group.channels[place] for place in entry.order[: point.removed]]] = True
        losses[entry.name, point.rate] = (
            baseline - evaluate(mask(network, groups, removed), data).value
        )
    seconds = time.perf_counter() - began - first
    return Plain(first + seconds * len(points) / len(losses), len(losses), losses)


def timed(network: Network, data: Dataset, groups: Groups, **more: float) -> tuple[float, Analysis]:
    began = time.perf_counter()
    analysis = analyze(network, data, groups=groups, **more)  # type: ignore[arg-type]
    return time.perf_counter() - began, analysis


def largest_difference(plain: Plain, analysis: Analysis) -> float:
    found: dict[tuple[str, float], Point] = {
        (group.name, point.rate): point for group in analysis.groups for point in group.points
    }
    return max(abs(loss - found[key].loss) for key, loss in plain.losses.items())


def report(name: str, every: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        network, data = MODELS[name](Path(folder))
        groups = find_groups(network)
        full, analysis = timed(network, data, groups)
        part, followed = timed(network, data, groups, threshold=LOSS)
        plain = plain_loop(network, data, groups, analysis, every)
        again, _ = timed(network, data, groups)
    points = sum(len(group.points) for group in analysis.groups)
    exact = threshold(groups, analysis, LOSS)
    other = [
        group.name
        for group in groups.groups
        if (exact != threshold(groups, followed, LOSS))[list(group.channels)].any()
    ]
    full = min(full, again)
    print(
        f"{name}: {len(analysis.groups)} groups, {points} points, {analysis.samples} samples, "
        f"{analysis.metric} {analysis.baseline:.4f}\n"
        f"  plain loop       {plain.seconds:8.1f} s  ({plain.measured} of {points} points timed)\n"
        f"  complete curves  {full:8.1f} s  {plain.seconds / full:6.1f} ×  "
        f"largest difference {largest_difference(plain, analysis):.1e}\n"
        f"  threshold {LOSS:g}   {part:8.1f} s  {plain.seconds / part:6.1f} ×  "
        f"groups decided otherwise than by complete curves: {', '.join(other) or 'none'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=10, help="time every K-th point only")
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args()
    print(f"{cores()} cores")
    for name in arguments.models.split(","):
        report(name, arguments.every)


if __name__ == "__main__":
    main()
