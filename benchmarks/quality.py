"""Quality of pruned networks without training, for each criterion, with and without repair.

    python benchmarks/quality.py lenet squeezenet [--rates 0.3 0.5] [--criteria l1 obs]
                                 [--allocation uniform] [--shared ../shared] [--torch-pruning]

For each network a Markdown table goes to stdout: accuracy on labelled images that calibration did
not see, against the fraction of the operations removed. Calibration sees no labels. All criteria
but "obs" take the same share of every group, unless --allocation says otherwise. Nothing is
trained.

With --torch-pruning, LeNet is pruned by Torch-Pruning 1.6 as well (L1 and L2, local and global);
that is skipped where torch or torch_pruning is not installed.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import secateur
from secateur.core.coupling import find_groups
from secateur.core.data import Batch, Dataset
from secateur.core.ir.heads import box_heads
from secateur.core.ir.network import Network, Preprocess
from secateur.core.pruning.apply import apply_plan
from secateur.core.pruning.choose import choose
from secateur.core.pruning.options import PruneOptions
from secateur.core.pruning.resolve import OBS

ROOT = Path(__file__).resolve().parent.parent
BATCH = 16
SCORES = (0.2, 0.01)
"""Lower limits of the scores of detections. 0.2 is the default of OpenCV and of the figures in
../shared/models/INVENTORY.md; 0.01 is that of ../shared/data/README.md."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Samples in memory: a dataset made of parts of others."""

    name: str
    parts: tuple[Batch, ...]
    labelled: bool
    problems: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.parts), BATCH):
            yield joined(self.parts[start : start + BATCH])

    def some(self, which: slice) -> Held:
        return replace(self, parts=self.parts[which])


def joined(parts: Sequence[Batch]) -> Batch:
    """Return one batch of several."""
    first = parts[0]
    return Batch(
        inputs={name: np.concatenate([p.inputs[name] for p in parts]) for name in first.inputs},
        labels=None
        if first.labels is None
        else np.concatenate([p.labels for p in parts if p.labels is not None]),
        objects=None
        if first.objects is None
        else tuple(one for p in parts for one in p.objects or ()),
        frames=None
        if first.frames is None
        else tuple(one for p in parts for one in p.frames or ()),
    )


def held(dataset: Dataset) -> Held:
    """Return a dataset opened with batches of one, in memory."""
    return Held(name=dataset.name, parts=tuple(dataset), labelled=dataset.labelled)


def spread_out(data: Held, samples: int) -> Held:
    """Return so many samples from all over the data: files are in the order of their classes."""
    places = np.linspace(0, data.samples - 1, min(samples, data.samples)).astype(int)
    return replace(data, parts=tuple(data.parts[place] for place in places))


def mirrored(data: Held) -> Held:
    """Return unlabelled images and their mirror images."""
    plain = [Batch(inputs=part.inputs) for part in data.parts]
    turned = [
        Batch(inputs={name: array[..., ::-1].copy() for name, array in part.inputs.items()})
        for part in plain
    ]
    return Held(name=f"{data.name} and mirror images", parts=(*plain, *turned), labelled=False)


Fold = tuple[Dataset, Dataset]
"""Images for calibration, and images for the measurement."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network with its data.

    Args:
        folder: in ../shared/models.
        files: the network's files.
        rates: fractions to remove where the command line gives none.
        about: which images calibrate and which measure.
        folds: shared folder, scratch folder, network → folds; accuracies are pooled.
    """

    folder: str
    files: tuple[str, ...]
    rates: tuple[float, ...]
    about: str
    folds: Callable[[Path, Path, Network], list[Fold]]


def digits(shared: Path, scratch: Path, network: Network) -> list[Fold]:  # noqa: ARG001
    images = shared / "data/mnist/t10k-images-idx3-ubyte.gz"
    data = held(secateur.open_dataset(images, network, scale=1 / 256, batch=1))
    return [(data.some(slice(1000)), data.some(slice(1000, None)))]


def cifar(shared: Path, scratch: Path, network: Network) -> list[Fold]:
    folder = shared / "data/cifar10"
    preprocess = Preprocess(channels="rgb", mean_file=str(folder / "mean.binaryproto"))
    sets = []
    for split in ("train", "test"):
        if not (scratch / split).is_dir():
            with tarfile.open(folder / f"{split}3000.tar.gz") as archive:
                archive.extractall(scratch, filter="data")
        opened = secateur.open_dataset(scratch / split, network, preprocess=preprocess, batch=1)
        sets.append(held(opened))
    return [(sets[0].some(slice(None, None, 3)), sets[1])]


def photographs(
    order: Callable[[Path], list[str]], crop: Callable[[Preprocess], Preprocess]
) -> Callable[[Path, Path, Network], list[Fold]]:
    """Return folds of the 200 ImageNet images: one half calibrates, the other measures.

    Args:
        order: from the shared folder to the identities of the network's classes.
        crop: how the network's own preprocessing is changed.
    """

    def folds(shared: Path, scratch: Path, network: Network) -> list[Fold]:
        folder = shared / "data/imagenet200"
        numbers = {name: number for number, name in enumerate(order(shared))}
        rows = [line.split() for line in (folder / "labels.txt").read_text().splitlines()]
        path = scratch / f"{network.name}.txt"
        path.write_text("".join(f"{file} {numbers[name]}\n" for file, _, name in rows))
        data = held(
            secateur.open_dataset(
                path, network, root=folder, preprocess=crop(network.preprocess), batch=1
            )
        )
        halves = data.some(slice(0, None, 2)), data.some(slice(1, None, 2))
        return [halves, halves[::-1]]

    return folds


def sorted_names(shared: Path) -> list[str]:
    return (shared / "data/imagenet200/synsets.txt").read_text().split()


def names_of_tiny(shared: Path) -> list[str]:
    path = shared / "models/tiny_darknet_imagenet/imagenet.labels.list"
    return path.read_text().split()[:1000]


def scenes(shared: Path, scratch: Path, network: Network) -> list[Fold]:
    preprocess = replace(network.preprocess, sampling="centres", letterbox=False)
    train, validation = (
        held(
            secateur.open_dataset(
                _scenes(shared, scratch, split, network), network, preprocess=preprocess, batch=1
            )
        )
        for split in ("train2017", "val2017")
    )
    return [(mirrored(train), validation)]


def _scenes(shared: Path, scratch: Path, split: str, network: Network) -> Path:
    """Return images with labels. For a network of 20 classes, COCO's classes become VOC's."""
    folder = shared / "data/coco"
    if network.heads[0].classes != 20:
        return folder / split
    target = scratch / split
    if target.is_dir():
        return target
    rows = [line.split() for line in (folder / "coco_to_voc.txt").read_text().splitlines()]
    numbers = {row[0]: row[1] for row in rows}
    (target / "labels").mkdir(parents=True)
    (target / "images").symlink_to(folder / split / "images")
    for path in sorted((folder / split / "labels").glob("*.txt")):
        objects = [line.split(maxsplit=1) for line in path.read_text().splitlines()]
        (target / "labels" / path.name).write_text(
            "".join(f"{numbers[c]} {box}\n" for c, box in objects if c in numbers)
        )
    return target


FEW = (0.2, 0.3, 0.5)
SMALL = "1,000 of the 3,000 JPEG training images calibrate, the 3,000 JPEG test images measure"
HALVES = "each half of the 200 images measures what the other half (100) calibrated"
SCENES = "48 train2017 images and their mirror images calibrate, the 64 val2017 images measure"

CASES = {
    "lenet": Case(
        folder="lenet_mnist",
        files=("lenet.prototxt", "lenet_iter_10000.caffemodel"),
        rates=(0.48, 0.61, 0.72, 0.81, 0.88),
        about="the first 1,000 MNIST test images calibrate, the other 9,000 measure",
        folds=digits,
    ),
    "squeezenet": Case(
        folder="squeezenet_v1.1_imagenet",
        files=("train_val.prototxt", "squeezenet_v1.1.caffemodel"),
        rates=FEW,
        about=HALVES,
        folds=photographs(sorted_names, lambda preprocess: preprocess),
    ),
    "cifar10-quick": Case(
        folder="cifar10_quick",
        files=("cifar10_quick.prototxt", "cifar10_quick_iter_4000.caffemodel"),
        rates=FEW,
        about=SMALL,
        folds=cifar,
    ),
    "cifar10-full": Case(
        folder="cifar10_full_lrn",
        files=("cifar10_full.prototxt", "cifar10_full_iter_70000.caffemodel"),
        rates=FEW,
        about=SMALL,
        folds=cifar,
    ),
    "resnet20": Case(
        folder="resnet20_cifar10",
        files=("res20_deploy.prototxt", "cifar10_res20_iter_64000.caffemodel"),
        rates=FEW,
        about=SMALL,
        folds=cifar,
    ),
    "tiny": Case(
        folder="tiny_darknet_imagenet",
        files=("tiny.cfg", "tiny.weights"),
        rates=FEW,
        about=HALVES,
        folds=photographs(names_of_tiny, lambda p: replace(p, crop=True, resize=())),
    ),
    "yolo-fastest": Case(
        folder="yolo_fastest_1.1_coco",
        files=("yolo-fastest-1.1.cfg", "yolo-fastest-1.1.weights"),
        rates=(0.07, 0.16, 0.23, 0.30, 0.37, 0.50),
        about=SCENES,
        folds=scenes,
    ),
    "mobilenetv2-yolo": Case(
        folder="mobilenetv2_yolo_fastest_voc",
        files=("MobileNetV2-YOLO-Fastest-voc.cfg", "MobileNetV2-YOLO-Fastest-voc.weights"),
        rates=FEW,
        about=SCENES,
        folds=scenes,
    ),
}


@dataclass(kw_only=True)
class Row:
    """Figures of one criterion, with or without repair: a list for each metric, by rate."""

    label: str
    values: list[list[float]]
    seconds: float = 0.0
    """Seconds of a prune, the mean over rates and folds: choice, verification and repair."""

    def text(self, metric: int = 0, best: Sequence[float] | None = None) -> str:
        values = self.values[metric]
        tops = best or [np.inf] * len(values)
        cells = [
            f"**{value:.2f}**" if value >= top else f"{value:.2f}"
            for value, top in zip(values, tops, strict=True)
        ]
        return f"| {self.label} | {' | '.join(cells)} | {self.seconds:.1f} |"


def report(row: Row) -> None:
    """Print a row while others are still being measured."""
    print(f"  {row.text()}", file=sys.stderr, flush=True)


def metrics(network: Network) -> list[str]:
    """Return the results of :func:`quality`."""
    if box_heads(network):
        return [f"mAP@0.5 of detections with scores above {score}" for score in SCORES]
    return ["top-1"]


def quality(network: Network, test: Dataset) -> list[float]:
    """Return the metrics in percent."""
    if not box_heads(network):
        return [100.0 * secateur.evaluate(network, test).value]
    return [100.0 * secateur.evaluate(network, test, score=score).value for score in SCORES]


def measured(
    network: Network,
    folds: Sequence[Fold],
    criterion: str,
    rates: Sequence[float],
    **settings: Any,
) -> tuple[list[Row], list[float]]:
    """Return the rows without and with repair, and the deviations from the rates.

    Args:
        network: the network.
        folds: samples to calibrate with, and to measure on.
        criterion: the criterion.
        rates: fractions of the operations to remove.
        **settings: further options of pruning.
    """
    groups = find_groups(network)
    rows = [
        Row(label=f"{criterion}{suffix}", values=[[] for _ in metrics(network)])
        for suffix in ("", " + repair")
    ]
    missed = []
    for rate in rates:
        found: list[list[list[float]]] = [[], []]
        for calibration, test in folds:
            start = time.perf_counter()
            options = PruneOptions(rate=rate, criterion=criterion, **settings)
            choice = choose(network, groups, options, data=calibration)
            chosen = time.perf_counter() - start
            for figures, row, repair in zip(found, rows, (False, True), strict=True):
                start = time.perf_counter()
                pruned = apply_plan(
                    network,
                    choice.plan,
                    groups=groups,
                    state=choice.state,
                    data=calibration,
                    repair=repair,
                )
                row.seconds += (chosen + time.perf_counter() - start) / len(rates) / len(folds)
                figures.append(quality(pruned.network, test))
            missed.append(rate - float(choice.plan.provenance["rate"]["achieved"]))
        for figures, row in zip(found, rows, strict=True):
            for values, mean in zip(row.values, np.mean(figures, axis=0), strict=True):
                values.append(float(mean))
    return rows, missed


def tables(name: str, shared: Path, scratch: Path, arguments: argparse.Namespace) -> None:
    """Print the tables of one network, one for each metric."""
    case = CASES[name]
    folder = shared / "models" / case.folder
    network = secateur.load(*(folder / file for file in case.files))
    folds = case.folds(shared, scratch, network)
    rates = arguments.rates or case.rates
    baseline = np.mean([quality(network, test) for _, test in folds], axis=0)
    print(f"### {case.folder}\n\nIn percent; {case.about}.\n", flush=True)
    rows: list[Row] = []
    missed = [0.0]
    settings = {
        "allocation": arguments.allocation,
        "limits": secateur.Limits(round_to=arguments.round_to),
    }
    for criterion in arguments.criteria or [*sorted(secateur.CRITERIA), OBS]:
        more, misses = measured(network, folds, criterion, rates, **settings)
        rows += more
        missed += misses
        for row in more:
            report(row)
    if name == "lenet" and arguments.torch_pruning:
        rows += torch_rows(network, folds, rates)
    heads = " | ".join(f"−{100 * rate:.0f} %" for rate in rates)
    for metric, title in enumerate(metrics(network)):
        best = [max(row.values[metric][k] for row in rows) for k in range(len(rates))]
        print(f"{title}; unpruned: {baseline[metric]:.2f}\n")
        print(f"| criterion | {heads} | s |\n|---|{'---:|' * (len(rates) + 1)}")
        for row in rows:
            print(row.text(metric, best))
        print()
    print(
        f"Rates asked and achieved differ by {100 * max(missed):.2f} points at most.\n", flush=True
    )


def torch_rows(network: Network, folds: Sequence[Fold], rates: Sequence[float]) -> list[Row]:
    """Return the results of Torch-Pruning on LeNet, a row for each importance and scope."""
    try:
        import torch
        import torch_pruning
    except ImportError as error:
        print(f"Torch-Pruning is left out: {error}", file=sys.stderr)
        return []

    def lenet() -> torch.nn.Module:
        arrays = [
            value.const_value.numpy()
            for value in network.graph.initializers.values()
            if value.const_value is not None and value.meta.get("blobs")
        ]
        model = torch.nn.Sequential(
            torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(20, 50, 5), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
            torch.nn.Linear(800, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10),
        )  # fmt: skip
        with torch.no_grad():
            for parameter, array in zip(model.parameters(), arrays, strict=True):
                parameter.copy_(torch.from_numpy(np.array(array)).reshape(parameter.shape))
        return model.eval()

    example = torch.zeros(1, 1, 28, 28)

    def pruned(share: float, norm: int, everywhere: bool) -> torch.nn.Module:
        model = lenet()
        torch_pruning.pruner.BasePruner(
            model,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=norm),
            pruning_ratio=share,
            max_pruning_ratio=0.98,
            global_pruning=everywhere,
            ignored_layers=[model[-1]],
        ).step()
        return model

    def operations(model: torch.nn.Module) -> float:
        return float(torch_pruning.utils.count_ops_and_params(model, example)[0])

    def accuracy(model: torch.nn.Module, test: Dataset) -> float:
        right = total = 0
        with torch.no_grad():
            for batch in test:
                assert batch.labels is not None
                (x,) = batch.inputs.values()
                answers = model(torch.from_numpy(x)).argmax(dim=1).numpy()
                right += int((answers == batch.labels).sum())
                total += batch.size
        return 100.0 * right / total

    whole = operations(lenet())
    ((_, test),) = folds
    rows = []
    for norm in (1, 2):
        for everywhere in (False, True):
            scope = "global" if everywhere else "local"
            row = Row(label=f"Torch-Pruning L{norm}, {scope}", values=[[]])
            achieved = []
            start = time.perf_counter()
            for rate in rates:
                low, high = 0.0, 0.98
                for _ in range(10):
                    middle = (low + high) / 2
                    saved = 1 - operations(pruned(middle, norm, everywhere)) / whole
                    low, high = (middle, high) if saved <= rate else (low, middle)
                model = pruned(low, norm, everywhere)
                achieved.append(1 - operations(model) / whole)
                row.values[0].append(accuracy(model, test))
            row.seconds = (time.perf_counter() - start) / len(rates)
            row.label += f" (−{', '.join(f'{100 * saved:.0f}' for saved in achieved)} %)"
            rows.append(row)
            report(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", choices=[*CASES, "all"], metavar="MODEL")
    parser.add_argument("--rates", nargs="+", type=float, help="fractions of the operations")
    parser.add_argument("--criteria", nargs="+", metavar="NAME", help="all of them by default")
    parser.add_argument("--allocation", default="auto", help="auto, uniform or global")
    parser.add_argument(
        "--round-to", default="auto", type=lambda text: text if text == "auto" else int(text),
        help="multiples of channels: auto, or a number",
    )  # fmt: skip
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--torch-pruning", action="store_true", help="for lenet")
    arguments = parser.parse_args()
    names = list(CASES) if "all" in arguments.models else arguments.models
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            tables(name, arguments.shared, Path(scratch), arguments)


if __name__ == "__main__":
    main()
