"""How well criteria agree with the oracle: what the loss really changes by without each channel.

    python benchmarks/methods.py correlation [lenet resnet20 quick yolo-fastest]
        [--criteria taylor,l1] [--images 200] [--plain]

For each network the table has Pearson's correlation of the scores with the size of the loss change
over all channels that may leave, that of ranks (Spearman), and the mean of the latter within single
groups. Images are those that networks were trained on, with labels where they are classes
(`--plain`: without). Needs the reference models (SECATEUR_SHARED).
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr

import secateur
from secateur.core.coupling import find_groups
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.data import Dataset
from secateur.core.ir.network import Network

SHARED = Path(os.environ.get("SECATEUR_SHARED", Path(__file__).resolve().parents[2] / "shared"))

NAMES = (
    "taylor", "taylor-sample", "taylor-second", "taylor-weight", "taylor-output", "bn-taylor",
    "obd", "sensitivity", "l1", "activation_mean",
)  # fmt: skip
"""Criteria that are compared where the command line names none."""

Opened = tuple[Network, Dataset]


def lenet(folder: Path, images: int) -> Opened:  # noqa: ARG001  # as the others
    models = SHARED / "models/lenet_mnist"
    network = secateur.load(models / "lenet.prototxt", models / "lenet_iter_10000.caffemodel")
    digits = SHARED / "data/mnist/train10k-images-idx3-ubyte.gz"
    return network, secateur.open_dataset(digits, network, limit=images, scale=1 / 256)


def cifar(folder: Path, images: int, network: Network, **settings: object) -> Opened:
    """Return a network with training images of CIFAR-10, spread over the classes."""
    with tarfile.open(SHARED / "data/cifar10/train5000_lossless.tar.gz") as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        chosen = members[:: max(1, len(members) // images)][:images]
        folders = [member for member in archive.getmembers() if member.isdir()]
        archive.extractall(folder, members=[*folders, *chosen], filter="data")
    (root,) = (path for path in folder.iterdir() if path.is_dir())
    mean = SHARED / "data/cifar10/mean.binaryproto"
    return network, secateur.open_dataset(root, network, mean_file=mean, **settings)


def resnet20(folder: Path, images: int) -> Opened:
    models = SHARED / "models/resnet20_cifar10"
    files = ("res20_deploy.prototxt", "cifar10_res20_iter_64000.caffemodel")
    network = secateur.load(*(models / name for name in files))
    return cifar(folder, images, network, channels="rgb")


def quick(folder: Path, images: int) -> Opened:
    models = SHARED / "models/cifar10_quick"
    files = ("cifar10_quick.prototxt", "cifar10_quick_iter_4000.caffemodel")
    network = secateur.load(*(models / name for name in files))
    return cifar(folder, images, network, channels="rgb")


def yolo_fastest(folder: Path, images: int) -> Opened:  # noqa: ARG001  # as the others
    models = SHARED / "models/yolo_fastest_1.1_coco"
    network = secateur.load(models / "yolo-fastest-1.1.cfg", models / "yolo-fastest-1.1.weights")
    data = secateur.open_dataset(SHARED / "data/coco/val2017/images", network, limit=images)
    return network, data


MODELS: dict[str, Callable[[Path, int], Opened]] = {
    "lenet": lenet, "resnet20": resnet20, "quick": quick, "yolo-fastest": yolo_fastest,
}  # fmt: skip


class Plain:
    """Samples without their labels."""

    labelled = False

    def __init__(self, dataset: Dataset):
        self._dataset = dataset
        self.name, self.samples = dataset.name, dataset.samples

    @property
    def problems(self) -> tuple[str, ...]:
        return self._dataset.problems

    def __iter__(self) -> object:
        return (secateur.Batch(inputs=batch.inputs) for batch in self._dataset)


def correlation(model: str, names: list[str], images: int, *, plain: bool) -> None:
    """Print the table of one network."""
    with tempfile.TemporaryDirectory() as folder:
        network, data = MODELS[model](Path(folder), images)
        data = Plain(data) if plain else data
        groups = find_groups(network)
        own = ScoreContext(network=network, groups=groups, data=data)
        begun = time.perf_counter()
        oracle = np.abs(CRITERIA["oracle"].score(own))
        parts = [list(group.removable()) for group in groups.groups if group.prunable]
        units = [unit for part in parts for unit in part]
        print(
            f"\n{model}: {len(units)} channels, {data.samples} images, "
            f"{'labels' if data.labelled else 'no labels'}; "
            f"the oracle took {time.perf_counter() - begun:.0f} s\n"
        )
        print(f"{'criterion':20}{'Pearson':>9}{'Spearman':>10}{'in groups':>11}{'seconds':>9}")
        for name in names:
            begun = time.perf_counter()
            scores = CRITERIA[name].score(own)
            took = time.perf_counter() - begun
            apart = [spearmanr(scores[part], oracle[part])[0] for part in parts
                     if len(set(scores[part])) > 1 and len(set(oracle[part])) > 1]  # fmt: skip
            within = np.mean(apart)
            print(
                f"{name:20}{pearsonr(scores[units], oracle[units])[0]:9.3f}"
                f"{spearmanr(scores[units], oracle[units])[0]:10.3f}{within:11.3f}{took:9.1f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    own = commands.add_parser("correlation", help="of criteria with the oracle")
    own.add_argument("models", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    own.add_argument("--criteria", default=",".join(NAMES), help="names, with commas between")
    own.add_argument("--images", type=int, default=200, help="how many images (200)")
    own.add_argument("--plain", action="store_true", help="leave labels out")
    arguments = parser.parse_args()
    unknown = sorted({*arguments.models} - {*MODELS})
    if unknown:
        parser.error(f"no network {unknown[0]}; there are {', '.join(MODELS)}")
    for model in arguments.models:
        correlation(model, arguments.criteria.split(","), arguments.images, plain=arguments.plain)


if __name__ == "__main__":
    main()
