"""Loading and converting large models, side by side with OpenCV and MNN.

    python benchmarks/load.py [--mnn PYTHON] [--megabytes N] [--runs N]

Makes a VGG-16-like caffemodel and a Darknet weights file with random weights, runs each candidate
in a process of its own, in turn, and prints the median of the wall-clock seconds and the largest
resident memory. The time of a process does not count its imports. `--mnn` names a Python that has
MNN; its converter is called directly, without the script around it that reports usage.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.random_weights import caffemodel  # noqa: E402

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of the convolutions before each pooling of VGG-16."""

CHILD = """
import json, resource, sys, time
{imports}
def resident():
    with open("/proc/self/status") as status:
        found = next(line for line in status if line.startswith("VmHWM"))
    return int(found.split()[1]) * 1024
before = resident()
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "peak": resident(), "before": before}}))
"""


@dataclass(frozen=True)
class Candidate:
    """A measurement: Python code, its imports, and the interpreter that runs it."""

    name: str
    imports: str
    work: str
    python: str = sys.executable


@dataclass(frozen=True)
class Measured:
    """Median seconds, and bytes of resident memory: the maximum, and before the work began."""

    seconds: float
    peak: int
    before: int


def measure(candidates: Sequence[Candidate], runs: int, folder: Path) -> list[Measured]:
    """Run all candidates in turn, `runs` times."""
    found: dict[str, list[dict[str, float]]] = {candidate.name: [] for candidate in candidates}
    for _ in range(runs):
        for candidate in candidates:
            code = CHILD.format(imports=candidate.imports, work=candidate.work)
            done = subprocess.run(  # noqa: S603  # our own text
                [candidate.python, "-c", code],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                sys.exit(f"{candidate.name}: {done.stderr[-2000:]}")
            found[candidate.name].append(json.loads(done.stdout.splitlines()[-1]))
    return [
        Measured(
            statistics.median(run["seconds"] for run in results),
            int(max(run["peak"] for run in results)),
            int(min(run["before"] for run in results)),
        )
        for results in found.values()
    ]


def write_vgg(folder: Path, megabytes: int) -> None:
    """Write vgg.prototxt and vgg.caffemodel of about the given number of megabytes."""
    random = np.random.default_rng(0)
    text = [
        'layer { name: "data" type: "Input" top: "data"',
        "  input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }",
    ]
    entries = []
    bottom, channels = "data", 3

    def add(name: str, kind: str, param: str, shape: tuple[int, ...]) -> None:
        nonlocal bottom
        text.append(
            f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}"'
            f' {param} }}\nlayer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}"'
            f' top: "{name}" }}'
        )
        weight = random.standard_normal(shape, np.float32) * np.float32(0.01)
        entries.append((name, kind, [weight, np.zeros(shape[0], np.float32)]))
        bottom = name

    for block, (width, count) in enumerate(BLOCKS, 1):
        for number in range(1, count + 1):
            param = f"convolution_param {{ num_output: {width} kernel_size: 3 pad: 1 }}"
            add(f"conv{block}_{number}", "Convolution", param, (width, channels, 3, 3))
            channels = width
        text.append(
            f'layer {{ name: "pool{block}" type: "Pooling" bottom: "{bottom}" top: "pool{block}"'
            " pooling_param { kernel_size: 2 stride: 2 } }"
        )
        bottom = f"pool{block}"
    left = megabytes * 1_000_000 // 4 - sum(a.size for _, _, blobs in entries for a in blobs)
    wide = max(16, round(left / (512 * 49 + 4096 + 1000)))
    for name, (inputs, outputs) in {
        "fc6": (512 * 49, wide), "fc7": (wide, 4096), "fc8": (4096, 1000),
    }.items():  # fmt: skip
        param = f"inner_product_param {{ num_output: {outputs} }}"
        add(name, "InnerProduct", param, (outputs, inputs))
    (folder / "vgg.prototxt").write_text("\n".join(text))
    (folder / "vgg.caffemodel").write_bytes(caffemodel(entries))


def write_darknet(folder: Path, megabytes: int) -> None:
    """Write net.cfg and net.weights: residual blocks of 1×1 and 3×3 convolutions, as in YOLOv3."""
    text = ["[net]", "width=416", "height=416", "channels=3"]
    numbers, channels = 0, 3
    while numbers * 4 < megabytes * 1_000_000:
        for filters, size in ((512, 1), (1024, 3)):
            text += ["[convolutional]", "batch_normalize=1", f"filters={filters}", f"size={size}"]
            text += ["stride=1" if numbers else "stride=32", "pad=1", "activation=leaky"]
            numbers += 4 * filters + filters * channels * size * size
            channels = filters
        if numbers > 20_000_000:
            text += ["[shortcut]", "from=-3", "activation=linear"]
    (folder / "net.cfg").write_text("\n".join(text))
    values = np.random.default_rng(0).uniform(0.01, 0.02, numbers).astype(np.float32)
    with (folder / "net.weights").open("wb") as file:
        file.write(np.array([0, 2, 0, 0, 0], "<i4").tobytes())
        file.write(values.data)


def show(title: str, size: int, candidates: Sequence[Candidate], found: Sequence[Measured]) -> None:
    """Print a table; memory as a multiple of `size`, with and without the libraries."""
    print(f"\n{title} ({size / 1e6:.0f} MB)")
    print(f"{'':<34}{'seconds':>10}{'peak MB':>10}{'× file':>8}{'own × file':>12}")
    for candidate, measured in zip(candidates, found, strict=True):
        own = measured.peak - measured.before
        print(
            f"{candidate.name:<34}{measured.seconds:>10.3f}{measured.peak / 1e6:>10.0f}"
            f"{measured.peak / size:>8.2f}{own / size:>12.2f}"
        )
    print(f"the second takes {found[1].seconds / found[0].seconds:.1f} × as long as the first")


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnn", default="", help="a Python that has MNN")
    parser.add_argument("--megabytes", type=int, default=550)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_vgg(folder, options.megabytes)
        write_darknet(folder, options.megabytes * 5 // 11)
        size = (folder / "vgg.caffemodel").stat().st_size
        files = '"vgg.prototxt", "vgg.caffemodel"'
        ours = "import secateur, secateur.formats.caffe.reader"
        loading = [
            Candidate("secateur.load", ours, f"network = secateur.load({files})"),
            Candidate("cv2.dnn.readNetFromCaffe", "import cv2",
                      f"network = cv2.dnn.readNetFromCaffe({files})"),
        ]  # fmt: skip
        show("Loading a caffemodel", size, loading, measure(loading, options.runs, folder))
        converting = [
            Candidate("secateur convert -o vgg.onnx", f"{ours}, secateur.formats.saving, onnx",
                      f'secateur.save(secateur.load({files}), "vgg.onnx")'),
        ]  # fmt: skip
        if options.mnn:
            arguments = ["mnnconvert", "-f", "CAFFE", "--modelFile", "vgg.caffemodel",
                         "--prototxt", "vgg.prototxt", "--MNNModel", "vgg.mnn"]  # fmt: skip
            converting.append(
                Candidate("mnnconvert", "import _tools", f"_tools.mnnconvert({arguments!r})",
                          options.mnn)
            )  # fmt: skip
            show("Caffe → ONNX, and → MNN", size, converting,
                 measure(converting, options.runs, folder))  # fmt: skip
        size = (folder / "net.weights").stat().st_size
        reading = [
            Candidate("plain read of the file", "", 'data = open("net.weights", "rb").read()'),
            Candidate("secateur.load", "import secateur, secateur.formats.darknet.reader",
                      'network = secateur.load("net.cfg", "net.weights")'),
        ]  # fmt: skip
        show("Loading Darknet weights", size, reading, measure(reading, options.runs, folder))
        starting = [
            Candidate("import secateur", "", "import secateur"),
            Candidate("secateur --help", "import subprocess, sys",
                      'subprocess.run([sys.executable, "-m", "secateur.cli.main", "--help"],'
                      " check=True, stdout=subprocess.DEVNULL)"),
        ]  # fmt: skip
        for candidate, measured in zip(
            starting, measure(starting, options.runs, folder), strict=True
        ):
            print(f"{candidate.name:<34}{measured.seconds:>10.3f} s")


if __name__ == "__main__":
    main()
