"""Commands on large networks: seconds, processor seconds and memory, beside OpenCV's dnn.

    python benchmarks/large.py [NETWORK …] [--width F] [--side N] [--commands NAME …]

Writes YOLOv4, ResNet-152, VGG-16 and HED with random weights into a folder, from their published
structures, and runs `secateur inspect`, `convert` and `prune --rate 0.3` without data on each,
every one in a process of its own. Two rows measure the machine: reading the model's files and
writing them again. OpenCV loads the network and runs it once. `--width` multiplies all numbers of
channels, `--side` replaces the side of the input: a first look takes `--width 0.25 --side 320`.
`--keep` names a new folder for all that is written.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

Files = tuple[Path, Path]
"""The description of a network and its weights."""


@dataclass
class Cfg:
    """A Darknet cfg in the making; layers are counted as its `route` counts them."""

    side: int
    width: float
    sections: list[str] = field(default_factory=list)
    layers: int = 0

    def add(self, kind: str, **options: object) -> int:
        """Add a layer and return its number."""
        lines = [f"[{kind}]", *(f"{name}={value}" for name, value in options.items())]
        self.sections.append("\n".join(lines))
        self.layers += 1
        return self.layers - 1

    def conv(self, filters: int, size: int, stride: int = 1, activation: str = "mish") -> int:
        """Add a convolution with batch normalisation."""
        return self.add(
            "convolutional", batch_normalize=1, filters=max(2, round(filters * self.width)),
            size=size, stride=stride, pad=1, activation=activation,
        )  # fmt: skip

    def convs(self, *filters: int) -> int:
        """Add leaky convolutions of 1×1 and 3×3 in turn."""
        return [self.conv(f, 1 + 2 * (i % 2), 1, "leaky") for i, f in enumerate(filters)][-1]

    def route(self, *layers: int) -> int:
        """Add a concatenation of layers, by their numbers."""
        return self.add("route", layers=",".join(map(str, layers)))

    def stage(self, filters: int, blocks: int, first: bool = False) -> int:
        """Add a stage of CSPDarknet53: half of the channels go through residual blocks."""
        half = filters if first else filters // 2
        down = self.conv(filters, 3, 2)
        skipped = self.conv(half, 1)
        self.route(down)
        self.conv(half, 1)
        for _ in range(blocks):
            self.conv(filters // 2 if first else half, 1)
            self.conv(half, 3)
            self.add("shortcut", **{"from": -3, "activation": "linear"})
        self.route(self.conv(half, 1), skipped)
        return self.conv(filters, 1)

    def head(self, first: int, classes: int = 80) -> None:
        """Add a detection layer with three of the nine anchors."""
        self.add("convolutional", filters=3 * (classes + 5), size=1, stride=1, pad=1,
                 activation="linear")  # fmt: skip
        anchors = "12,16, 19,36, 40,28, 36,75, 76,55, 72,146, 142,110, 192,243, 459,401"
        mask = ",".join(str(first + k) for k in range(3))
        self.add("yolo", mask=mask, anchors=anchors, classes=classes, num=9, scale_x_y=1.1)

    def text(self) -> str:
        """Return the whole cfg."""
        net = f"[net]\nbatch=1\nsubdivisions=1\nwidth={self.side}\nheight={self.side}\nchannels=3"
        return "\n\n".join([net, *self.sections]) + "\n"


def yolov4(folder: Path, side: int, width: float) -> Files:
    """Write YOLOv4: CSPDarknet53, spatial pyramid pooling, path aggregation, three heads."""
    c = Cfg(side, width)
    c.conv(32, 3)
    c.stage(64, 1, first=True)
    c.stage(128, 2)
    fine = c.stage(256, 8)
    middle = c.stage(512, 8)
    c.stage(1024, 4)
    x = c.convs(512, 1024, 512)
    pools = []
    for size in (5, 9, 13):
        pools.append(c.add("maxpool", stride=1, size=size))
        if size < 13:
            c.route(x)
    c.route(*reversed(pools), x)
    coarse = c.convs(512, 1024, 512)
    c.convs(256)
    up = c.add("upsample", stride=2)
    c.route(middle)
    c.route(c.convs(256), up)
    middle = c.convs(256, 512, 256, 512, 256)
    c.convs(128)
    up = c.add("upsample", stride=2)
    c.route(fine)
    c.route(c.convs(128), up)
    x = c.convs(128, 256, 128, 256, 128)
    c.conv(256, 3, 1, "leaky")
    c.head(0)
    for deeper, channels, first in ((middle, 256, 3), (coarse, 512, 6)):
        c.route(x)
        c.route(c.conv(channels, 3, 2, "leaky"), deeper)
        x = c.convs(channels, 2 * channels, channels, 2 * channels, channels)
        c.conv(2 * channels, 3, 1, "leaky")
        c.head(first)
    from support.darknet import with_random_weights

    (folder / "yolov4").mkdir()
    return with_random_weights(folder / "yolov4", c.text())


@dataclass
class Prototxt:
    """A Caffe net in the making."""

    side: int
    width: float
    layers: list[str] = field(default_factory=list)
    top: str = "data"

    def __post_init__(self) -> None:
        shape = f"shape {{ dim: 1 dim: 3 dim: {self.side} dim: {self.side} }}"
        self.layers.append(
            f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}'
        )

    def add(
        self, name: str, kind: str, *bottoms: str, param: str = "", in_place: bool = False
    ) -> str:
        """Add a layer behind the last one, or behind some tops; return its top."""
        bottoms = bottoms or (self.top,)
        top = bottoms[0] if in_place else name
        read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.layers.append(f'layer {{ name: "{name}" type: "{kind}" {read} top: "{top}" {param} }}')
        self.top = top
        return top

    def conv(
        self, name: str, outputs: int, size: int, *bottoms: str, stride: int = 1,
        pad: int | None = None, whole: bool = False, bias: bool = True,
    ) -> str:  # fmt: skip
        """Add a convolution; `whole` keeps its number of channels at every width."""
        number = outputs if whole else max(2, round(outputs * self.width))
        pad = size // 2 if pad is None else pad
        return self.add(
            name, "Convolution", *bottoms,
            param=f"convolution_param {{ num_output: {number} kernel_size: {size} stride: {stride} "
            f"pad: {pad} bias_term: {'true' if bias else 'false'} }}",
        )  # fmt: skip

    def relu(self, name: str) -> str:
        """Add a ReLU in place."""
        return self.add(f"relu_{name}", "ReLU", in_place=True)

    def normed(self, name: str, outputs: int, size: int, *bottoms: str, stride: int = 1) -> str:
        """Add a convolution with BatchNorm and Scale."""
        self.conv(name, outputs, size, *bottoms, stride=stride, bias=False)
        self.add(f"bn_{name}", "BatchNorm", in_place=True)
        return self.add(f"scale_{name}", "Scale", param="scale_param { bias_term: true }",
                        in_place=True)  # fmt: skip

    def pool(self, name: str, param: str) -> str:
        """Add a pooling."""
        return self.add(name, "Pooling", param=f"pooling_param {{ {param} }}")

    def fc(self, name: str, outputs: int, *, whole: bool = False) -> str:
        """Add a fully connected layer."""
        number = outputs if whole else max(2, round(outputs * self.width))
        return self.add(
            name, "InnerProduct", param=f"inner_product_param {{ num_output: {number} }}"
        )

    def write(self, folder: Path, name: str) -> Files:
        """Write the net and random weights for it."""
        from support.random_weights import caffemodel_for

        text = f'name: "{name}"\n' + "\n".join(self.layers) + "\n"
        paths = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
        paths[0].write_text(text)
        paths[1].write_bytes(caffemodel_for(text.encode()))
        return paths


def resnet(
    folder: Path, side: int, width: float, *, name: str = "resnet152", blocks: Sequence[int]
) -> Files:
    """Write a ResNet: bottlenecks of 1×1, 3×3, 1×1 in four stages of so many blocks."""
    net = Prototxt(side, width)
    net.normed("conv1", 64, 7, stride=2)
    net.relu("conv1")
    x = net.pool("pool1", "pool: MAX kernel_size: 3 stride: 2")
    for stage, (channels, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 2):
        for number in range(count):
            block, stride = f"res{stage}_{number}", 2 if number == 0 and stage > 2 else 1
            short = x
            if number == 0:
                short = net.normed(f"{block}_short", 4 * channels, 1, x, stride=stride)
            net.normed(f"{block}_a", channels, 1, x, stride=stride)
            net.relu(f"{block}_a")
            net.normed(f"{block}_b", channels, 3)
            net.relu(f"{block}_b")
            last = net.normed(f"{block}_c", 4 * channels, 1)
            x = net.add(block, "Eltwise", short, last)
            net.relu(block)
    net.pool("pool5", "pool: AVE global_pooling: true")
    net.fc("fc1000", 1000, whole=True)
    net.add("prob", "Softmax")
    return net.write(folder, name)


resnet152 = partial(resnet, name="resnet152", blocks=(3, 8, 36, 3))
resnet50 = partial(resnet, name="resnet50", blocks=(3, 4, 6, 3))


def resnet56(folder: Path, side: int, width: float) -> Files:
    """Write ResNet-56 of CIFAR-10: nine blocks of two 3×3 convolutions in each of three stages."""
    net = Prototxt(side, width)
    net.normed("conv1", 16, 3)
    net.relu("conv1")
    x = net.top
    for stage, channels in enumerate((16, 32, 64), 1):
        for number in range(9):
            block, stride = f"res{stage}_{number}", 2 if number == 0 and stage > 1 else 1
            short = x
            if stride == 2:
                short = net.normed(f"{block}_short", channels, 1, x, stride=stride)
            net.normed(f"{block}_a", channels, 3, x, stride=stride)
            net.relu(f"{block}_a")
            last = net.normed(f"{block}_b", channels, 3)
            x = net.add(block, "Eltwise", short, last)
            net.relu(block)
    net.pool("pool", "pool: AVE global_pooling: true")
    net.fc("fc", 10, whole=True)
    net.add("prob", "Softmax")
    return net.write(folder, "resnet56")


VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of the convolutions of each block of VGG-16."""


def vgg16(folder: Path, side: int, width: float) -> Files:
    """Write VGG-16: thirteen convolutions, three fully connected layers."""
    net = Prototxt(side, width)
    for block, (channels, count) in enumerate(VGG, 1):
        for number in range(1, count + 1):
            net.relu(net.conv(f"conv{block}_{number}", channels, 3))
        net.pool(f"pool{block}", "pool: MAX kernel_size: 2 stride: 2")
    for name in ("fc6", "fc7"):
        net.relu(net.fc(name, 4096))
    net.fc("fc8", 1000, whole=True)
    net.add("prob", "Softmax")
    return net.write(folder, "vgg16")


def hed(folder: Path, side: int, width: float) -> Files:
    """Write HED: VGG-16 with a side output a block, enlarged, cropped and joined."""
    net = Prototxt(side, width)
    sides = []
    for block, (channels, count) in enumerate(VGG, 1):
        for number in range(1, count + 1):
            # The first padding leaves a border that the crops take away.
            pad = 35 if block == number == 1 else 1
            net.relu(net.conv(f"conv{block}_{number}", channels, 3, pad=pad))
        before = net.top
        side_output = net.conv(f"dsn{block}", 1, 1, whole=True)
        if block > 1:
            factor = 2 ** (block - 1)
            side_output = net.add(
                f"up{block}", "Deconvolution",
                param=f"convolution_param {{ num_output: 1 kernel_size: {2 * factor} "
                f"stride: {factor} bias_term: false }}",
            )  # fmt: skip
        sides.append(
            net.add(f"crop{block}", "Crop", side_output, "data",
                    param="crop_param { axis: 2 offset: 34 offset: 34 }")
        )  # fmt: skip
        net.add(f"edge{block}", "Sigmoid")
        net.top = before
        if block < len(VGG):
            net.pool(f"pool{block}", "pool: MAX kernel_size: 2 stride: 2")
    net.add("joined", "Concat", *sides)
    net.conv("fused", 1, 1, whole=True)
    net.add("edges", "Sigmoid")
    return net.write(folder, "hed")


NETWORKS: dict[str, tuple[Callable[[Path, int, float], Files], int]] = {
    "yolov4": (yolov4, 608),
    "resnet152": (resnet152, 224),
    "vgg16": (vgg16, 224),
    "hed": (hed, 500),
}
"""Name → what writes it, and the side of its input."""

OPENCV = """
import sys, numpy, cv2
net = cv2.dnn.readNet({weights!r}, {text!r})
net.setInput(numpy.random.default_rng(0).random((1, 3, {side}, {side}), numpy.float32))
net.forward(net.getUnconnectedOutLayersNames())
"""

READ = "import sys; [open(name, 'rb').read() for name in {paths!r}]"
WRITE = (
    "import os, sys; data = [open(name, 'rb').read() for name in {paths!r}]\n"
    "for number, one in enumerate(data):\n"
    "    with open(f'{folder}/copy{{number}}', 'wb') as file:\n"
    "        file.write(one); file.flush(); os.fsync(file.fileno())"
)


def commands(files: Files, side: int, folder: Path) -> dict[str, list[str]]:
    """Return what is measured: name → arguments for Python."""
    text, weights = map(str, files)
    secateur = ["-m", "secateur.cli.main"]
    suffix = files[0].suffix
    return {
        "read": ["-c", READ.format(paths=[text, weights])],
        "read + write": ["-c", WRITE.format(paths=[text, weights], folder=folder)],
        "inspect": [*secateur, "inspect", text, weights],
        "convert": [*secateur, "convert", text, weights, "-o", str(folder / f"same{suffix}")],
        "onnx": [*secateur, "convert", text, weights, "-o", str(folder / "same.onnx")],
        "prune": [
            *secateur,
            "prune",
            text,
            weights,
            "--rate",
            "0.3",
            "--criterion",
            "l1",
            "-o",
            str(folder / "out"),
        ],
        "opencv": ["-c", OPENCV.format(text=text, weights=weights, side=side)],
    }


def measure(arguments: Sequence[str], folder: Path) -> tuple[float, float, int]:
    """Run Python once; return seconds, processor seconds, and the peak of resident bytes."""
    began = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        done = subprocess.Popen(  # noqa: S603  # our own text
            [sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(done.pid, 0)
        done.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}:\n{(folder / 'output.txt').read_text()[-2000:]}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _written(
    write: Callable[[Path, int, float], Files], folder: Path, side: int, width: float
) -> Files:
    """Write a network in a process of its own: a child's peak of memory begins at its parent's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(write, folder, side, width).result()


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--width", type=float, default=1.0, help="factor of all channels")
    parser.add_argument("--side", type=int, default=0, help="side of the input")
    parser.add_argument("--commands", nargs="+", default=[], help="only these rows")
    parser.add_argument("--keep", type=Path, help="write into this new folder and keep it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(exist_ok=True)
        for network in options.networks:
            write, own_side = NETWORKS[network]
            side = options.side or own_side
            files = _written(write, folder, side, options.width)
            size = sum(path.stat().st_size for path in files)
            print(f"\n{network}, input {side}×{side} ({size / 1e6:.0f} MB)")
            print(f"{'':<14}{'seconds':>10}{'processor':>12}{'peak MB':>10}{'× file':>8}")
            for title, arguments in commands(files, side, folder).items():
                if options.commands and title not in options.commands:
                    continue
                seconds, processor, peak = measure(arguments, folder)
                print(
                    f"{title:<14}{seconds:>10.2f}{processor:>12.2f}{peak / 1e6:>10.0f}"
                    f"{peak / size:>8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
