"""The methods of the gallery, measured against each other.

    python benchmarks/methods.py correlation [lenet resnet20 quick yolo-fastest]
        [--criteria taylor,l1] [--images 200] [--plain]
    python benchmarks/methods.py gallery lenet resnet20 [--criteria obs,l1] [--rates 0.2 0.3 0.5]
        [--repairs none,auto] [--images 200] [--labels] [--output studies/]
    python benchmarks/methods.py low-data lenet resnet20 [--criteria shapley,obs] [--rate 0.3]
        [--per-class 1 5 20] [--seeds 3] [--output studies/]
    python benchmarks/methods.py tuned resnet20 [--criteria random,obs] [--rate 0.5]
        [--steps 0 300 1500] [--output studies/]
    python benchmarks/methods.py collapse lenet cifar10-quick resnet20
    python benchmarks/methods.py kernels [residual] [--seeds 1] [--steps 400]
        [--tuning 60]

`correlation`: how well criteria agree with the oracle, what the loss really changes by without each
channel. For each network the table has Pearson's correlation of the scores with the size of the
loss change over all channels that may leave, that of ranks (Spearman), and the mean of the latter
within single groups. Images are those that networks were trained on, with labels where they are
classes (`--plain`: without).

`gallery`: accuracy of each criterion at each rate, without and with repair, on images that
calibration did not see. `low-data`: the same with few images of each class and without training.
`tuned`: what is left of the differences once all are fine-tuned. All three are `secateur study`;
with --output, a run that was stopped goes on.

`collapse`: how many layers synaptic flow empties on the way to a hundredth of the parameters, in
one step and in a hundred.

`kernels`: LEAN as its paper has it, kernel by kernel, beside the kernels of the largest operator
norms, each alone: F1 of small networks that find circles in noise, trained here (kernels.py). In
brackets: how many of the kept kernels are on a way from the input to an output.

Tables are Markdown and go to stdout. All but `kernels` need the reference models (SECATEUR_SHARED).
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kernels
import numpy as np
from quality import CASES, Held, spread_out
from scipy.stats import pearsonr, spearmanr

import secateur
from secateur.core.cost.budget import make_costs
from secateur.core.coupling import find_groups
from secateur.core.coupling.indices import UnitMask
from secateur.core.criteria import CRITERIA, ScoreContext
from secateur.core.criteria.flow import Flow
from secateur.core.criteria.synflow import STEPS, removal_order
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


def correlation(model: str, arguments: argparse.Namespace) -> None:
    """Print the table of one network."""
    with tempfile.TemporaryDirectory() as folder:
        network, data = MODELS[model](Path(folder), arguments.images)
        data = Plain(data) if arguments.plain else data
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
        for name in arguments.criteria.split(","):
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


GALLERY = (
    "obs", "l1", "l2", "lamp", "bn_scale", "geometric_median", "similarity", "synflow", "lean",
    "dfpc", "random", "activation_mean", "apoz", "entropy", "thinet", "interpolative", "particle",
    "taylor", "taylor-output", "bn-taylor", "obd",
)  # fmt: skip
"""Methods of `gallery` where the command line names none: those of seconds or minutes."""

FEW = ("shapley", "taylor", "taylor-output", "l1", "obs")
"""Methods of `low-data`: those of the paper, and what it did not know."""

COLLAPSING = ("lenet", "cifar10-quick", "resnet20")
"""Networks of `collapse` where the command line names none."""

TUNED = ("random", "l1", "taylor", "obs")
LEVELS = (0.3, 0.1, 0.03, 0.01)
"""Parts of the parameters that `collapse` looks at."""


def loaded(name: str) -> Network:
    """Return a network of quality.py."""
    case = CASES[name]
    return secateur.load(*(SHARED / "models" / case.folder / file for file in case.files))


def opened(name: str, scratch: Path, *, labels: bool) -> tuple[Network, Held, Held]:
    """Return a network of quality.py with images to calibrate on and others to measure on."""
    network = loaded(name)
    calibration, test = CASES[name].folds(SHARED, scratch, network)[0]
    assert isinstance(calibration, Held)
    assert isinstance(test, Held)
    if not labels:
        parts = tuple(secateur.Batch(inputs=part.inputs) for part in calibration.parts)
        calibration = replace(calibration, parts=parts, labelled=False)
    return network, calibration, test


def studied(
    model: str, arguments: argparse.Namespace, *, labels: bool, images: int | None = None,
    name: str = "", **settings: object,
) -> secateur.Study:  # fmt: skip
    """Return what a study of a network comes to, and print what it was of."""
    with tempfile.TemporaryDirectory() as scratch:
        network, calibration, test = opened(model, Path(scratch), labels=labels)
        if images is not None:
            calibration = spread_out(calibration, images)
        output = arguments.output and arguments.output / f"{model}-{arguments.command}{name}"
        found = secateur.study(
            network, calibration, test, output=output, latency=False, jobs=arguments.jobs,
            as_far_as_possible=True, **settings,
        )  # fmt: skip
    before = "" if found.original_value is None else f", original {shown(found.original_value)}"
    print(
        f"\n{model}: {found.metric} in percent{before}; {found.samples} images"
        f"{' with labels' if labels else ''} calibrate, {found.validation_samples} measure\n"
    )
    return found


def shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def print_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: texts, then numbers."""
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)


def gallery(model: str, arguments: argparse.Namespace) -> None:
    """Print accuracy by criterion, rate and repair; the best figure of a column is bold."""
    names, repairs = arguments.criteria.split(","), arguments.repairs.split(",")
    found = studied(
        model, arguments, labels=arguments.labels, images=arguments.images, methods=names,
        rates=arguments.rates, repairs=repairs,
    )  # fmt: skip
    values = {(m.point.method, m.point.rate, m.point.repair): m.value for m in found.means()}
    columns = [(rate, repair) for repair in repairs for rate in arguments.rates]
    best = {own: np.nanmax([values[name, *own] for name in names]) for own in columns}
    head = [f"−{rate:.0%}, {repair}" for rate, repair in columns]
    lines = []
    for name in names:
        cells = [shown(values[name, *own]) for own in columns]
        bold = [
            f"**{cell}**" if values[name, *own] >= best[own] else cell
            for cell, own in zip(cells, columns, strict=True)
        ]
        lines.append([name, *bold])
    print_table(["criterion", *head], lines)
    for row in found.rows:
        if row.measured is None:
            print(f"\n{row.point.method}, −{row.point.rate:.0%}: {row.reason}")


def low_data(model: str, arguments: argparse.Namespace) -> None:
    """Print accuracy by criterion and images of each class, mean and spread over seeds."""
    names = arguments.criteria.split(",")
    found = studied(
        model, arguments, labels=True, methods=names, rates=[arguments.rate],
        repairs=["none", "auto"], low_data=arguments.per_class, seeds=arguments.seeds,
    )  # fmt: skip
    means = {(m.point.method, m.point.repair, m.point.images): m for m in found.means()}
    lines = []
    for name in names:
        for repair in ("none", "auto"):
            cells = []
            for images in (*arguments.per_class, None):
                own = means[name, repair, images]
                spread = "" if own.spread is None else f" ± {100 * own.spread:.1f}"
                cells.append(f"{shown(own.value)}{spread}")
            lines.append([f"{name}{' + repair' if repair == 'auto' else ''}", *cells])
    print_table(["criterion", *map(str, arguments.per_class), "all"], lines)


def tuned(model: str, arguments: argparse.Namespace) -> None:
    """Print accuracy by criterion and steps of fine-tuning, after repair."""
    names = arguments.criteria.split(",")
    columns = []
    for steps in arguments.steps:
        training = secateur.FinetuneOptions(steps=steps, batch_size=32) if steps else None
        found = studied(
            model, arguments, labels=False, methods=names, rates=[arguments.rate],
            finetune=training, name=f"-{steps}",
        )  # fmt: skip
        columns.append([mean.value for mean in found.means()])
    lines = [
        [name, *map(shown, values)]
        for name, values in zip(names, zip(*columns, strict=True), strict=True)
    ]
    print_table(["criterion", *(f"{steps} steps" for steps in arguments.steps)], lines)


def lone_kernels(model: str, arguments: argparse.Namespace) -> None:
    """Print the table of :mod:`kernels` for one kind of network."""
    kernels.report(model, arguments.seeds, arguments.steps, arguments.tuning)


def collapse(model: str, _: argparse.Namespace) -> None:
    """Print how many layers lose all of their channels before so few parameters are left."""
    network = loaded(model)
    groups = find_groups(network)
    costs, flow = make_costs(network, groups, "parameters"), Flow(network, groups)
    layers = [groups.distinct_units(producer.labels) for producer in groups.producers]
    print(f"\n{model}: layers without a channel, of {len(layers)}\n")
    lines = []
    for label, steps in (("in one step", 1), (f"in {STEPS} steps", STEPS)):
        order = removal_order(flow, groups, steps)
        cells = []
        for level in LEVELS:
            gone = UnitMask(np.zeros(groups.unit_count, dtype=np.bool_))
            for unit in order:
                gone[unit] = True
                if costs.total(gone) <= level * costs.total():
                    break
            cells.append(f"{sum(bool(gone[units].all()) for units in layers)}")
        lines.append([label, *cells])
    print_table(["synaptic flow", *(f"{level:.0%} left" for level in LEVELS)], lines)


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
    own.set_defaults(run=correlation, known=MODELS)
    add_studies(commands)
    own = commands.add_parser("collapse", help="of layers, by synaptic flow")
    own.add_argument("models", nargs="*", default=list(COLLAPSING), help=", ".join(CASES))
    own.set_defaults(run=collapse, known=CASES)
    own = commands.add_parser("kernels", help="single ones, by LEAN and by their norms")
    own.add_argument("models", nargs="*", default=["residual"], help=", ".join(kernels.NETWORKS))
    own.add_argument("--seeds", type=int, default=1, help="networks of each kind (1)")
    own.add_argument("--steps", type=int, default=400, help="updates of a network (400)")
    own.add_argument("--tuning", type=int, default=60, help="updates after pruning (60)")
    own.set_defaults(run=lone_kernels, known=kernels.NETWORKS)
    arguments = parser.parse_args()
    unknown = sorted({*arguments.models} - {*arguments.known})
    if unknown:
        parser.error(f"no network {unknown[0]}; there are {', '.join(arguments.known)}")
    for model in arguments.models:
        arguments.run(model, arguments)


def add_studies(commands: Any) -> None:
    """Add the commands that are studies."""
    own = commands.add_parser("gallery", help="accuracy of all criteria")
    own.add_argument("--rates", nargs="+", type=float, default=[0.2, 0.3, 0.5])
    own.add_argument("--repairs", default="none,auto")
    own.add_argument("--images", type=int, default=200, help="that calibrate (200)")
    own.add_argument("--labels", action="store_true", help="for the criteria that read them")
    own.set_defaults(criteria=",".join(GALLERY), run=gallery)
    few = commands.add_parser("low-data", help="accuracy with few images of each class")
    few.add_argument("--per-class", nargs="+", type=int, default=[1, 2, 5, 10])
    few.add_argument("--seeds", type=int, default=3)
    few.set_defaults(criteria=",".join(FEW), run=low_data)
    long = commands.add_parser("tuned", help="accuracy after fine-tuning")
    long.add_argument("--steps", nargs="+", type=int, default=[0, 300, 1500])
    long.set_defaults(criteria=",".join(TUNED), run=tuned)
    for one in (few, long):
        one.add_argument("--rate", type=float, default=0.5)
    for one in (own, few, long):
        one.add_argument("models", nargs="+", help=", ".join(CASES))
        one.add_argument("--criteria", default=one.get_default("criteria"))
        one.set_defaults(known=CASES)
        one.add_argument("--jobs", type=int, help="models made at once")
        one.add_argument("--output", type=Path, help="folder of the studies, to go on with")


if __name__ == "__main__":
    main()
