"""Do two versions of secateur write the same files?

    python benchmarks/same_bytes.py --before OLD/bin/secateur --after .venv/bin/secateur
                                    [--work DIR] [--networks lenet resnet20] [--shared DIR]

Every command that writes files runs with both programs, on the fixtures and on four networks of
the shared folder. Then all files are compared byte by byte. Names that changed between the versions
(the name of a criterion in a plan, for example) are listed in RENAMED and are replaced by the old
ones before the comparison. Measured times and the folders of the data are left out.

Outputs that exist already under --work are not computed again, so that one run of the older version
serves many of the newer one. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent

TEXT = (".yaml", ".json", ".jsonl", ".txt", ".cfg", ".prototxt")

RENAMED: tuple[tuple[str, str], ...] = ((r"(?m)^criterion: obs$", "criterion: surgery"),)
"""Patterns in text files of the newer version, each with the text of the older version."""

TIMES = re.compile(r'"?(latency|latencies|milliseconds|seconds)[^\n]*')

FOLDERS = re.compile(r"[^\s\"']*(?=/(?:fixtures|data)/)")
"""The folders of the data: the versions may have run in different checkouts."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network with data for it.

    Args:
        files: the files of the network.
        data: returns the value of --data for the shared folder and a scratch folder.
        flags: flags about the data.
        rate: rate of a prune.
        limit: number of samples; None for all.
        rates: rates of an analysis.
    """

    files: tuple[str, ...]
    data: Callable[[Path, Path], Path]
    flags: tuple[str, ...] = ()
    rate: str = "0.3"
    limit: int | None = None
    rates: str = "0.2,0.5"


def digits(shared: Path, scratch: Path) -> Path:
    folder = shared / "data/mnist"
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:512] / np.float32(256)
    y = np.frombuffer(labels, np.uint8, offset=8)[:512].astype(np.int64)
    np.savez(scratch / "mnist.npz", x=x, y=y)
    return scratch / "mnist.npz"


def cifar(shared: Path, scratch: Path) -> Path:
    images, labels = [], []
    with tarfile.open(shared / "data/cifar10/train5000_lossless.tar.gz") as archive:
        members = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)
        for member in members[::50]:
            content = archive.extractfile(member)
            assert content is not None
            image = cv2.imdecode(np.frombuffer(content.read(), np.uint8), cv2.IMREAD_COLOR)
            images.append(image[..., ::-1].transpose(2, 0, 1))
            labels.append(int(member.name.split("/")[1].split("_")[0]))
    x = np.stack(images).astype(np.float32) - np.float32(120)
    np.savez(scratch / "cifar.npz", x=x, y=np.array(labels))
    return scratch / "cifar.npz"


def photographs(shared: Path, scratch: Path) -> Path:
    folder = shared / "data/imagenet200"
    numbers = {n: k for k, n in enumerate((folder / "synsets.txt").read_text().split())}
    rows = [line.split() for line in (folder / "labels.txt").read_text().splitlines()]
    path = scratch / "imagenet.txt"
    path.write_text("".join(f"{folder / file} {numbers[name]}\n" for file, _, name in rows))
    return path


MODELS = {
    "shapes-caffe": Model(
        files=(
            f"{ROOT}/fixtures/shapes_caffe/shapes.prototxt",
            f"{ROOT}/fixtures/shapes_caffe/shapes.caffemodel",
        ),
        data=lambda shared, scratch: ROOT / "fixtures/shapes.npz",  # noqa: ARG005
        rates="0.1:0.9:0.2",
    ),
    "shapes-darknet": Model(
        files=(
            f"{ROOT}/fixtures/shapes_darknet/shapes.cfg",
            f"{ROOT}/fixtures/shapes_darknet/shapes.weights",
        ),
        data=lambda shared, scratch: ROOT / "fixtures/shapes.npz",  # noqa: ARG005
        rates="0.1:0.9:0.2",
    ),
    "lenet": Model(
        files=("lenet_mnist/lenet.prototxt", "lenet_mnist/lenet_iter_10000.caffemodel"),
        data=digits,
        rate="0.6",
    ),
    "resnet20": Model(
        files=(
            "resnet20_cifar10/res20_deploy.prototxt",
            "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel",
        ),
        data=cifar,
    ),
    "squeezenet": Model(
        files=(
            "squeezenet_v1.1_imagenet/train_val.prototxt",
            "squeezenet_v1.1_imagenet/squeezenet_v1.1.caffemodel",
        ),
        data=photographs,
        limit=16,
        rates="0.5",
    ),
    "yolo-fastest": Model(
        files=(
            "yolo_fastest_1.1_coco/yolo-fastest-1.1.cfg",
            "yolo_fastest_1.1_coco/yolo-fastest-1.1.weights",
        ),
        data=lambda shared, scratch: shared / "data/coco/train2017",  # noqa: ARG005
        flags=("--stretch",),
        rate="0.2",
        limit=12,
        rates="0.5",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One call: what it is named in the table, its words, and the files it reads of an earlier."""

    name: str
    words: tuple[str, ...]


def commands(model: Model, files: Sequence[str], data: Path) -> list[Command]:
    """Return the calls for one network; OUT is the folder of a call, ALL that of all of them."""
    reading = ["--data", str(data), *model.flags]
    if model.limit is not None:
        reading += ["--limit", str(model.limit)]
    plain = ["--rate", model.rate]
    onnx = "ALL/convert/model.onnx"
    return [
        Command(name="convert", words=("convert", *files, "-o", "OUT/model.onnx")),
        Command(name="prune", words=("prune", *files, *plain, "-o", "OUT")),
        Command(name="prune-data", words=("prune", *files, *plain, *reading, "-o", "OUT")),
        Command(
            name="prune-sparse",
            words=("prune", *files, *plain, "--criterion", "l2", "--mode", "sparse", "-o", "OUT"),
        ),
        Command(
            name="transform",
            words=(
                "transform", *[f"ALL/prune-sparse/{Path(file).name}" for file in files],
                "--plan", "ALL/prune-sparse/plan.yaml", *reading, "-o", "OUT",
            ),
        ),
        Command(
            name="ana", words=("ana", *files, *reading, "--rates", model.rates, "-o", "OUT")
        ),
        Command(
            name="prune-ana",
            words=(
                "prune", *files, *plain, "--analysis", "ALL/ana", "--no-repair", "-o", "OUT",
            ),
        ),
        Command(
            name="iterate",
            words=(
                "iterate", *files, *reading, "--rates", "0.1,0.2", "--criterion", "l1", "-o", "OUT",
            ),
        ),
        Command(name="onnx-prune", words=("prune", onnx, *plain, "-o", "OUT")),
        Command(name="onnx-prune-data", words=("prune", onnx, *plain, *reading, "-o", "OUT")),
    ]  # fmt: skip


def ran(program: Path, command: Command, folder: Path) -> float:
    """Run a command in the folder of its version; return the seconds, 0 where it was kept."""
    target = folder / command.name
    if (target / "done").exists():
        return 0.0
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    words = [word.replace("ALL", ".").replace("OUT", command.name) for word in command.words]
    began = time.monotonic()
    result = subprocess.run(  # noqa: S603
        [str(program), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    (target / "stdout.log").write_text(result.stdout)
    (target / "stderr.log").write_text(result.stderr)
    if result.returncode:
        (target / "failed.txt").write_text(f"exit code {result.returncode}\n{result.stderr}")
    (target / "done").touch()
    return time.monotonic() - began


def content(path: Path, renamed: Sequence[tuple[str, str]]) -> bytes:
    """Return the content of a file, without times and the folders of the data."""
    data = path.read_bytes()
    if path.suffix not in TEXT:
        return data
    text = FOLDERS.sub("", TIMES.sub("", data.decode()))
    for new, old in renamed:
        text = re.sub(new, old, text)
    return text.encode()


def compared(before: Path, after: Path) -> tuple[int, int, list[str]]:
    """Return the number of files, the number of bytes, and a text for each difference."""
    skipped = {"done", "stdout.log", "stderr.log"}
    names = {
        path.relative_to(root)
        for root in (before, after)
        for path in root.rglob("*")
        if path.is_file() and path.name not in skipped
    }
    wrong, size = [], 0
    for name in sorted(names):
        one, other = before / name, after / name
        if not one.exists() or not other.exists():
            wrong.append(f"{name}: only {'after' if other.exists() else 'before'}")
            continue
        size += one.stat().st_size
        if content(one, ()) != content(other, RENAMED):
            wrong.append(f"{name}: differs")
    return len(names), size, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path)
    parser.add_argument("--work", type=Path, default=Path("same_bytes"))
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--networks", nargs="*", default=list(MODELS), choices=list(MODELS))
    asked = parser.parse_args()
    bad = 0
    for name in asked.networks:
        model = MODELS[name]
        scratch = (asked.work / "data").resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        shared = asked.shared.resolve()
        files = [
            file if Path(file).is_absolute() else str(shared / "models" / file)
            for file in model.files
        ]
        data = model.data(shared, scratch)
        for command in commands(model, files, data):
            folders = [(asked.work / side / name).resolve() for side in ("before", "after")]
            first = ran(asked.before.absolute(), command, folders[0])
            line = f"{name:<16}{command.name:<18}before {first:6.1f} s"
            if asked.after is not None:
                second = ran(asked.after.absolute(), command, folders[1])
                count, size, wrong = compared(*(f / command.name for f in folders))
                state = "same" if not wrong else "DIFFERENT"
                line += f"  after {second:6.1f} s  {count:3} files {size:10,} bytes  {state}"
                bad += len(wrong)
                line += "".join(f"\n    {text}" for text in wrong)
            failed = (folders[0] / command.name / "failed.txt").exists()
            print(line + ("  (fails)" if failed else ""), flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
