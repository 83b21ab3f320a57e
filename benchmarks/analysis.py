"""The time of a sensitivity analysis of all groups, compared with a plain loop.

    python benchmarks/analysis.py [--every K] [--loss T] [--limit N]
        [--models lenet,squeezenet,yolo-fastest]

Plain loop: for each group × rate, zero the channels, rebuild, make a session on all cores, run all
data. Ours: `secateur.analyze` with complete curves, with a threshold as `prune --threshold` needs
them, and the same by bisection. Every point that both measured must agree; the channels that the
threshold removes are compared with those that complete curves decide. The plain loop is timed on
every K-th point, which takes each group and each rate equally often, and scaled up (--every 1 for
all of them). Seconds are those of the clock and, in brackets, of the processor: on a machine that
others use, their ratio is the steadier one. Needs the reference models (SECATEUR_SHARED).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

import secateur
from secateur.core.allocation.sensitivity import sensitivity
from secateur.core.allocation.threshold import threshold
from secateur.core.cost.network_cost import Costs
from secateur.core.coupling import Groups, find_groups
from secateur.core.coupling.edit import mask
from secateur.core.data import Dataset
from secateur.core.engine.threads import cores
from secateur.core.evaluation.evaluate import evaluate
from secateur.core.ir.network import Network
from secateur.core.plan.steps import cut
from secateur.core.sensitivity import Analysis, Point, analyze

SHARED = Path(os.environ.get("SECATEUR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
T = TypeVar("T")


def lenet(folder: Path, limit: int | None) -> tuple[Network, Dataset]:  # noqa: ARG001  # as the others
    models = SHARED / "models/lenet_mnist"
    network = secateur.load(models / "lenet.prototxt", models / "lenet_iter_10000.caffemodel")
    digits = SHARED / "data/mnist/t10k-images-idx3-ubyte.gz"
    return network, secateur.open_dataset(digits, network, limit=limit, scale=1 / 256)


def squeezenet(folder: Path, limit: int | None) -> tuple[Network, Dataset]:
    models, images = SHARED / "models/squeezenet_v1.1_imagenet", SHARED / "data/imagenet200"
    network = secateur.load(models / "train_val.prototxt", models / "squeezenet_v1.1.caffemodel")
    lines = [line.split()[:2] for line in (images / "labels.txt").read_text().splitlines()]
    (folder / "list.txt").write_text("".join(f"{name} {label}\n" for name, label in lines))
    return network, secateur.open_dataset(folder / "list.txt", network, root=images, limit=limit)


def yolo_fastest(folder: Path, limit: int | None) -> tuple[Network, Dataset]:  # noqa: ARG001  # as the others
    models = SHARED / "models/yolo_fastest_1.1_coco"
    network = secateur.load(models / "yolo-fastest-1.1.cfg", models / "yolo-fastest-1.1.weights")
    return network, secateur.open_dataset(SHARED / "data/coco/val2017/images", network, limit=limit)


MODELS: dict[str, Callable[[Path, int | None], tuple[Network, Dataset]]] = {
    "lenet": lenet,
    "squeezenet": squeezenet,
    "yolo-fastest": yolo_fastest,
}


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of the clock, and seconds of the processor over all threads."""

    wall: float
    cpu: float

    def scaled(self, factor: float, more: Seconds) -> Seconds:
        return Seconds(more.wall + self.wall * factor, more.cpu + self.cpu * factor)


@dataclass(frozen=True, slots=True)
class Plain:
    """Results of the plain loop: seconds for all points, and the losses it measured."""

    seconds: Seconds
    losses: dict[tuple[str, float], float]


def timed(work: Callable[[], T]) -> tuple[Seconds, T]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), result


def plain_loop(
    network: Network, data: Dataset, groups: Groups, analysis: Analysis, every: int
) -> Plain:
    points = [(group, point) for group in analysis.groups for point in group.points]
    first, baseline = timed(lambda: evaluate(network, data).value)

    def loop() -> dict[tuple[str, float], float]:
        losses = {}
        for entry, point in points[::every]:
            group = groups.by_name(entry.name)
            assert group is not None
            removed = np.zeros(groups.unit_count, np.bool_)
            removed[[group.units[place] for place in entry.order[: point.removed]]] = True
            masked = mask(network, groups, removed)
            losses[entry.name, point.rate] = baseline - evaluate(masked, data).value
        return losses

    seconds, losses = timed(loop)
    return Plain(seconds.scaled(len(points) / len(losses), first), losses)


def largest_difference(plain: Plain, analysis: Analysis) -> float:
    found: dict[tuple[str, float], Point] = {
        (group.name, point.rate): point for group in analysis.groups for point in group.points
    }
    return max(abs(loss - found[key].loss) for key, loss in plain.losses.items())


def reach(network: Network, groups: Groups, analysis: Analysis) -> str:
    """Print the rate up to which curves that end at a threshold decide like complete ones."""
    if analysis.threshold is None:
        return ""
    costs = Costs(network, groups)
    _, rate = cut(sensitivity(groups, analysis), groups, costs, 1.0)
    return f", good for rates to {rate:.2f}"


def report(name: str, every: int, loss: float, limit: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        network, data = MODELS[name](Path(folder), limit)
        groups = find_groups(network)
        complete, analysis = timed(lambda: analyze(network, data, groups=groups))
        plain = plain_loop(network, data, groups, analysis, every)
        rows = {"complete curves": (complete, analysis)}
        for label, rising in (("threshold", False), ("bisected", True)):
            rows[label] = timed(
                lambda rising=rising: analyze(
                    network, data, groups=groups, threshold=loss, rising=rising
                )
            )
    points = sum(len(group.points) for group in analysis.groups)
    print(
        f"{name}: {len(analysis.groups)} groups, {points} points, {analysis.samples} samples, "
        f"{analysis.metric} {analysis.original_value:.4f}, largest difference of a point "
        f"{largest_difference(plain, analysis):.1e}"
    )
    seconds = plain.seconds
    print(
        f"  plain loop       {seconds.wall:7.1f} s ({seconds.cpu:7.1f})"
        f"                   {len(plain.losses)} of {points} points timed"
    )
    exact = threshold(groups, analysis, loss)
    for label, (spent, found) in rows.items():
        other = exact != threshold(groups, found, loss)
        count = sum(other[list(group.units)].any() for group in groups.groups)
        print(
            f"  {label:16} {spent.wall:7.1f} s ({spent.cpu:7.1f})  "
            f"{seconds.wall / spent.wall:5.1f} × ({seconds.cpu / spent.cpu:5.1f})  "
            f"{sum(len(group.points) for group in found.groups)} points, "
            f"{count} groups decided otherwise{reach(network, groups, found)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=10, help="time every K-th point only")
    parser.add_argument("--loss", type=float, default=0.01, help="the threshold")
    parser.add_argument("--limit", type=int, help="samples; all if not given")
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args()
    print(f"{cores()} cores, threshold {arguments.loss:g}")
    for name in arguments.models.split(","):
        report(name, arguments.every, arguments.loss, arguments.limit)


if __name__ == "__main__":
    main()
