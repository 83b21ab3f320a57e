"""What fine-tuning brings back of what pruning and repair lost, on real networks.

    python benchmarks/recovery.py resnet20 squeezenet [--rates 0.5] [--time 600 | --epochs 5]
                                  [--labels] [--learning-rate X] [--match M] [--precision bfloat16]
                                  [--keep pruned] [--shared ../shared]

Each network is pruned by OBS with repair, calibrated on its training images, then trained on the
same images: by what the original network computes (no labels), and with --labels by labels as well.
Pruned networks that --keep holds from an earlier run are not made again.
Test images are others; they decide nothing, not even which of the measured networks is kept. A
table for each run goes to stdout: steps, loss on the images held out from training, and the figure
on the test images.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from quality import names_of_tiny, sorted_names

import secateur
from secateur.core.data import Dataset
from secateur.core.engine.session import Session
from secateur.core.ir.heads import box_heads
from secateur.core.ir.network import Network, Preprocess

ROOT = Path(__file__).resolve().parent.parent

Opened = tuple[Dataset, Dataset, Callable[[Network], float]]
"""Training images, those with labels, and what measures a network in percent on the test images."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network with its data.

    Args:
        folder: in ../shared/models.
        files: the network's files.
        rates: fractions of the operations to remove, where the command line gives none.
        about: which images train and which measure.
        chance: what guessing gives in percent; for words only.
        opened: shared folder, scratch folder, network → data.
    """

    folder: str
    files: tuple[str, ...]
    rates: tuple[float, ...]
    about: str
    chance: str
    opened: Callable[[Path, Path, Network], Opened]
    confirmed: Callable[[Path, Sequence[Path]], float] | None = None
    """Shared folder, files of a network → its accuracy in percent, computed by OpenCV alone."""


def accuracy(test: Dataset) -> Callable[[Network], float]:
    """Return what measures a network by labels; boxes count from a score of 0.01 on."""

    def measure(network: Network) -> float:
        settings = {"score": 0.01} if box_heads(network) else {}
        return 100.0 * secateur.evaluate(network, test, **settings).value

    return measure


def cifar(shared: Path, scratch: Path, network: Network) -> Opened:
    folder = shared / "data/cifar10"
    preprocess = Preprocess(channels="rgb", mean_file=str(folder / "mean.binaryproto"))
    sets = []
    for split in ("train5000", "test10000"):
        with tarfile.open(folder / f"{split}_lossless.tar.gz") as archive:
            archive.extractall(scratch / split, filter="data")
        (root,) = (path for path in (scratch / split).iterdir() if path.is_dir())
        sets.append(secateur.open_dataset(root, network, preprocess=preprocess))
    return sets[0], sets[0], accuracy(sets[1])


DIGITS = 1 / 256
"""What pixels of the digits are multiplied by, as lenet_train_test.prototxt says."""


def digits(shared: Path, _: Path, network: Network) -> Opened:
    """10,000 of the training digits train, the 10,000 test digits measure."""
    train, test = (
        secateur.open_dataset(
            shared / "data/mnist" / f"{name}-images-idx3-ubyte.gz", network, scale=DIGITS
        )
        for name in ("train10k", "t10k")
    )
    return train, train, accuracy(test)


def digits_by_opencv(shared: Path, files: Sequence[Path]) -> float:
    """Return the accuracy of a network's files on the 10,000 test digits, by OpenCV's dnn."""
    import cv2

    def idx(name: str, header: int) -> np.ndarray:
        with gzip.open(shared / "data/mnist" / name) as file:
            return np.frombuffer(file.read(), np.uint8)[header:]

    images = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)
    net = cv2.dnn.readNetFromCaffe(*map(str, files))
    right = 0
    for start in range(0, len(images), 100):
        net.setInput(cv2.dnn.blobFromImages(images[start : start + 100], DIGITS))
        found = net.forward().reshape(-1, 10).argmax(axis=1)
        right += int((found == labels[start : start + 100]).sum())
    return 100.0 * right / len(images)


def photographs(
    order: Callable[[Path], list[str]], crop: Callable[[Preprocess], Preprocess]
) -> Callable[[Path, Path, Network], Opened]:
    """Return what opens the 800 ImageNet images to train, the 200 of other classes to measure."""

    def opened(shared: Path, scratch: Path, network: Network) -> Opened:
        numbers = {name: number for number, name in enumerate(order(shared))}
        sets = []
        for name in ("imagenet800", "imagenet200"):
            folder = shared / "data" / name
            rows = [line.split() for line in (folder / "labels.txt").read_text().splitlines()]
            path = scratch / f"{name}.txt"
            path.write_text("".join(f"{row[0]} {numbers[row[2]]}\n" for row in rows))
            sets.append(
                secateur.open_dataset(
                    path, network, root=folder, preprocess=crop(network.preprocess)
                )
            )
        return sets[0], sets[0], accuracy(sets[1])

    return opened


def scenes(shared: Path, scratch: Path, network: Network) -> Opened:
    """The training images of three sets; the validation images of two measure.

    Boxes of voc_sample count only for a network of VOC's classes: others in these images are not
    labelled.
    """
    voc = network.heads[0].classes == 20
    preprocess = replace(network.preprocess, sampling="centres", letterbox=False)
    parts = {
        "train": [("coco", "train2017"), ("coco180", "train2017"), ("voc_sample", "train")],
        "labelled": [("coco", "train2017"), ("coco180", "train2017")],
        "test": [("coco", "val2017"), ("coco180", "val2017")],
    }
    if voc:
        parts["labelled"].append(("voc_sample", "train"))
    sets = {}
    for name, sources in parts.items():
        for folder in ("images", "labels"):
            (scratch / name / folder).mkdir(parents=True)
        for source, split in sources:
            _add(shared / "data" / source, split, scratch / name, voc=voc)
        sets[name] = secateur.open_dataset(scratch / name, network, preprocess=preprocess)
    return sets["train"], sets["labelled"], accuracy(sets["test"])


def _add(source: Path, split: str, target: Path, *, voc: bool) -> None:
    """Add images and labels; for a network of VOC's classes, those of COCO are renamed."""
    numbers = None
    if voc and (source / "coco_to_voc.txt").exists():
        lines = (source / "coco_to_voc.txt").read_text().splitlines()
        numbers = {row[0]: row[1] for row in map(str.split, lines)}
    for image in sorted((source / split / "images").iterdir()):
        (target / "images" / image.name).symlink_to(image)
        labels = source / split / "labels" / f"{image.stem}.txt"
        if not labels.exists():
            continue
        text = labels.read_text()
        if numbers is not None:
            rows = [line.split(maxsplit=1) for line in text.splitlines()]
            text = "".join(f"{numbers[c]} {box}\n" for c, box in rows if c in numbers)
        (target / "labels" / labels.name).write_text(text)


def streets(shared: Path, scratch: Path, network: Network) -> Opened:
    """CamVid: 60 images train, 60 measure; the network's 19 classes become CamVid's 11.

    No labels train: CamVid's classes are not the network's.
    """
    folder = shared / "data/camvid"
    classes = shared / "models/enet_cityscapes/cityscapes_to_camvid.txt"
    rows = [line.split() for line in classes.read_text().splitlines() if line.strip()]
    table = np.full(19, 11)
    for row in rows:
        if row[1].isdigit():
            table[int(row[0])] = int(row[1])
    for split in ("train", "test"):
        (scratch / split).mkdir()
        for image in sorted((folder / split / "images").iterdir()):
            (scratch / split / image.name).symlink_to(image)
    train, test = (
        secateur.open_dataset(scratch / split, network, batch=4) for split in ("train", "test")
    )
    maps = sorted((folder / "test/labels").iterdir())
    return train, train, lambda pruned: 100.0 * _mean_overlap(pruned, test, maps, table)


def _mean_overlap(
    network: Network, test: Dataset, maps: Sequence[Path], table: np.ndarray
) -> float:
    """Return the mean over the 11 classes of intersection over union."""
    import cv2

    session = Session(network)
    name = network.outputs[-1]
    counts = np.zeros((12, 12), np.int64)
    number = 0
    for batch in test:
        for scores in session.run(batch.inputs)[name]:
            truth = cv2.imread(str(maps[number]), cv2.IMREAD_UNCHANGED)
            found = table[scores.argmax(axis=0)]
            if found.shape != truth.shape:
                raise SystemExit(f"{maps[number]}: {truth.shape}, the network gives {found.shape}")
            counts += np.bincount((truth * 12 + found).ravel(), minlength=144).reshape(12, 12)
            number += 1
    counts = counts[:11]
    right = np.diag(counts)
    return float(np.mean(right / (counts.sum(axis=1) + counts[:, :11].sum(axis=0) - right)))


SCENES = (
    "the 268 training images of coco, coco180 and voc_sample train, "
    "the 114 of val2017 in coco and coco180 measure"
)
PHOTOGRAPHS = "the 800 ImageNet images train, 200 of other classes measure"

CASES = {
    "lenet": Case(
        folder="lenet_mnist",
        files=("lenet.prototxt", "lenet_iter_10000.caffemodel"),
        rates=(0.88,),
        about="10,000 training digits train, the 10,000 test digits measure",
        chance="10",
        opened=digits,
        confirmed=digits_by_opencv,
    ),
    "resnet20": Case(
        folder="resnet20_cifar10",
        files=("res20_deploy.prototxt", "cifar10_res20_iter_64000.caffemodel"),
        rates=(0.5, 0.7),
        about="5,000 lossless CIFAR-10 training images train, the 10,000 test images measure",
        chance="10",
        opened=cifar,
    ),
    "squeezenet": Case(
        folder="squeezenet_v1.1_imagenet",
        files=("train_val.prototxt", "squeezenet_v1.1.caffemodel"),
        rates=(0.5,),
        about=PHOTOGRAPHS,
        chance="0.1",
        opened=photographs(sorted_names, lambda preprocess: preprocess),
    ),
    "tiny": Case(
        folder="tiny_darknet_imagenet",
        files=("tiny.cfg", "tiny.weights"),
        rates=(0.5,),
        about=PHOTOGRAPHS,
        chance="0.1",
        opened=photographs(names_of_tiny, lambda p: replace(p, crop=True, resize=())),
    ),
    "yolo-fastest": Case(
        folder="yolo_fastest_1.1_coco",
        files=("yolo-fastest-1.1.cfg", "yolo-fastest-1.1.weights"),
        rates=(0.3, 0.5),
        about=SCENES,
        chance="0",
        opened=scenes,
    ),
    "mobilenetv2-yolo": Case(
        folder="mobilenetv2_yolo_fastest_voc",
        files=("MobileNetV2-YOLO-Fastest-voc.cfg", "MobileNetV2-YOLO-Fastest-voc.weights"),
        rates=(0.3, 0.5),
        about=SCENES,
        chance="0",
        opened=scenes,
    ),
    "enet": Case(
        folder="enet_cityscapes",
        files=("enet_deploy_cv2_360x480.prototxt", "cityscapes_weights.caffemodel"),
        rates=(0.3,),
        about="60 CamVid training images train, the 60 test images measure",
        chance="1",
        opened=streets,
    ),
}


def run(name: str, arguments: argparse.Namespace, scratch: Path) -> None:
    """Prune and train one network at all rates; print tables."""
    case = CASES[name]
    folder = arguments.shared / "models" / case.folder
    network = secateur.load(*(folder / file for file in case.files))
    train, labelled, measure = case.opened(arguments.shared, scratch, network)
    original = measure(network)
    print(f"### {case.folder}\n\n{case.about}; chance: {case.chance} %.", flush=True)
    for rate in arguments.rates or case.rates:
        began = time.perf_counter()
        files = _pruned(network, rate, train, (arguments.keep or scratch) / f"{name}-{rate}")
        plan = secateur.load_plan(files[0].parent / "plan.yaml")
        start = secateur.begin(*files)
        before = measure(start.network)
        print(
            f"\n−{100 * rate:.0f} %: original {original:.2f}, pruned and repaired {before:.2f} "
            f"({time.perf_counter() - began:.0f} s)",
            flush=True,
        )
        ways = [(1.0, match) for match in arguments.match]
        for distill, match in [*ways, (0.5, "auto")] if arguments.labels else ways:
            data = train if distill == 1.0 else labelled
            settings = {"distill": distill, "match": match, **_settings(arguments)}
            result = _tuned(network, plan, start, data, measure, settings)
            tuned = measure(result.network)
            if case.confirmed:
                saved = secateur.save(result.network, scratch / f"{rate}-{distill}-{match}")
                print(f"OpenCV: {case.confirmed(arguments.shared, saved.paths):.2f}")
            share = (tuned - before) / (original - before) if original > before else float("nan")
            print(f"\n{tuned:.2f}: {100 * share:.0f} % of the loss is back", flush=True)


def _pruned(network: Network, rate: float, train: Dataset, folder: Path) -> list[Path]:
    """Return the files of the pruned network in a folder; they are made where there are none."""
    if not (folder / "plan.yaml").exists():
        secateur.save(secateur.prune(network, rate=rate, data=train), folder)
    weights = (".caffemodel", ".weights")
    kinds = (".prototxt", ".cfg", *weights)
    return sorted(
        (path for path in folder.iterdir() if path.suffix in kinds),
        key=lambda path: path.suffix in weights,
    )


def _tuned(
    teacher: Network,
    plan: secateur.Plan,
    start: secateur.Start,
    data: Dataset,
    measure: Callable[[Network], float],
    settings: dict[str, Any],
) -> secateur.FinetuneResult:
    """Train a pruned network, and print what was measured on the way."""
    kind = "labels and teacher" if settings["distill"] < 1 else "teacher alone"
    print(f"\n{kind}, match {settings['match']}\n")
    print("| step | stage | rate | held out | test | s |\n|---:|---|---:|---:|---:|---:|")

    def tell(entry: secateur.FinetuneEntry, now: Network) -> None:
        print(
            f"| {entry.step} | {entry.stage} | {entry.rate:.2g} | {entry.held_out:.4f}"
            f"{' *' if entry.best else ''} | {measure(now):.2f} | {entry.seconds:.0f} |",
            flush=True,
        )

    result = secateur.finetune(
        start, data, teacher=teacher, plan=plan, tell=tell, **settings,
    )  # fmt: skip
    for note in result.notes:
        print(f"note: {note}")
    print(f"{result.steps} steps of {result.batch}, {result.images:.1f} images a second")
    return result


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of fine-tuning that the command line gives."""
    names = (
        "time",
        "learning_rate",
        "batch_size",
        "normalize",
        "train",
        "seed",
        "precision",
        "epochs",
    )
    if arguments.epochs:
        arguments.time = None
    return {n: value for n in names if (value := getattr(arguments, n)) is not None}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", choices=[*CASES], metavar="MODEL")
    parser.add_argument("--rates", nargs="+", type=float, help="fractions of the operations")
    parser.add_argument("--time", type=float, default=600.0, help="seconds of each training")
    parser.add_argument("--epochs", type=float, help="passes of each training, instead of seconds")
    parser.add_argument("--labels", action="store_true", help="a second training by labels as well")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--match", nargs="+", default=["auto"], help="a training for each")
    parser.add_argument("--train")
    parser.add_argument("--normalize")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--precision", help="type that networks are trained in")
    parser.add_argument("--keep", type=Path, help="folder of the pruned networks")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    arguments = parser.parse_args()
    for name in arguments.models:
        scratch = Path(tempfile.mkdtemp())
        try:
            run(name, arguments, scratch)
        finally:
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
