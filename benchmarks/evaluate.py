"""How fast is evaluation, against a plain loop of OpenCV's dnn over the same images?

    python benchmarks/evaluate.py MODEL MODEL --data IMAGES_OR_LIST [--root FOLDER] [--rounds 5]

Both read the same files, make the same inputs and count the same answers, in turns within one
process; the figures are medians over the rounds. "Single" is one decoded image at a time, from its
pixels to the network's outputs. Times are those of the clock and, in brackets, of the processor
over all threads: on a machine that others use, the ratio of these is the steadier one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import secateur
from secateur.core.data import ImageStream
from secateur.core.data.preprocess import to_input
from secateur.core.engine.padding import for_speed
from secateur.core.engine.threads import cores
from secateur.core.ir.heads import box_heads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs=2, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--opencv", type=Path, help="the description OpenCV reads, if another")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    network = secateur.load(*arguments.model)
    described = arguments.opencv or arguments.model[0]
    net = cv2.dnn.readNet(str(described), str(arguments.model[1]))
    dataset = secateur.open_dataset(arguments.data, network, root=arguments.root)
    assert isinstance(dataset, ImageStream), "this benchmark is about images"
    batch = secateur.best_batch(network, dataset.samples)
    dataset = secateur.open_dataset(arguments.data, network, root=arguments.root, batch=batch)
    assert isinstance(dataset, ImageStream)
    print(f"{network.name}: {dataset.samples} images, batches of {batch}, "
          f"{cores()} cores")  # fmt: skip

    jobs: dict[str, Callable[[], object]] = {
        # OpenCV's detectors leave out objects below 0.2: both sides should decode as many.
        "set, secateur": lambda: secateur.evaluate(network, dataset, score=0.2),
        "set, OpenCV loop": lambda: opencv_set(net, network, dataset),
        "single, secateur": single(network, dataset),
        "single, OpenCV": opencv_single(net, network, dataset),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    answers = {name: job() for name, job in jobs.items()}  # warm, and what came out
    for _ in range(arguments.rounds):
        for name, job in jobs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            job()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    ours = answers["set, secateur"]
    print(
        f"secateur measures {ours.metric} {ours.value:.4f}, the loop {answers['set, OpenCV loop']}"
    )
    middles = {}
    for name, taken in times.items():
        images = dataset.samples if name.startswith("set") else 1
        walls, cpus = zip(*taken, strict=True)
        middles[name] = statistics.median(walls), statistics.median(cpus)
        wall, cpu = (value / images for value in middles[name])
        spread = (max(walls) - min(walls)) / images
        print(f"{name:<18}{1000 * wall:8.2f} ms an image (± {500 * spread:.2f}) "
              f"[{1000 * cpu:.2f}], {1 / wall:8.1f} images a second")  # fmt: skip
    for kind in ("set", "single"):
        mine, other = (
            middles[f"{kind}, {who}"]
            for who in ("secateur", "OpenCV loop" if kind == "set" else "OpenCV")
        )
        print(
            f"{kind}: secateur is {other[0] / mine[0]:.2f} times as fast [{other[1] / mine[1]:.2f}]"
        )


def opencv_input(image: np.ndarray, network: secateur.Network) -> np.ndarray:
    """Return a blob by the usual code of users."""
    _, _, height, width = next(iter(network.inputs.values()))
    preprocess = network.preprocess
    if preprocess.crop:
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        image = image[top : top + height, left : left + width]
    mean = (preprocess.mean * 3)[:3] if preprocess.mean else (0, 0, 0)
    return cv2.dnn.blobFromImage(
        image, preprocess.scale, (width, height), mean, swapRB=preprocess.channels == "rgb"
    )


def opencv_set(net: cv2.dnn.Net, network: secateur.Network, dataset: ImageStream) -> str:
    """Read, compute and count, image by image."""
    detector = bool(box_heads(network))
    names = net.getUnconnectedOutLayersNames()
    right = found = 0
    for index in range(dataset.samples):
        sample = dataset.source.read(index, gray=False)
        net.setInput(opencv_input(sample.image, network))
        outputs = net.forward(names)
        if detector:
            found += detections(np.concatenate(outputs), sample.image)
        else:
            right += int(outputs[0].argmax() == sample.label)
    return f"{found} boxes" if detector else f"{right / dataset.samples:.4f}"


def detections(rows: np.ndarray, image: np.ndarray) -> int:
    """Return the number of boxes after suppression, of rows (x, y, w, h, objectness, classes)."""
    places, classes = np.nonzero(rows[:, 5:] > 0.01)
    if not len(places):
        return 0
    height, width = image.shape[:2]
    scores = rows[places, 5 + classes]
    boxes = rows[places, :4] * [width, height, width, height]
    boxes[:, :2] -= boxes[:, 2:] / 2
    return len(cv2.dnn.NMSBoxesBatched(boxes, scores, classes, 0.01, 0.45))


def single(network: secateur.Network, dataset: ImageStream) -> Callable[[], object]:
    """Return a job that computes the outputs of one decoded image, as evaluation does."""
    session = secateur.Session(for_speed(network))
    name, (_, *size) = next(iter(network.inputs.items()))
    image = dataset.source.read(0, gray=False).image
    shape = (int(size[0]), int(size[1]), int(size[2]))
    return lambda: session.run({name: to_input(image, shape, network.preprocess)[None]})


def opencv_single(
    net: cv2.dnn.Net, network: secateur.Network, dataset: ImageStream
) -> Callable[[], object]:
    """Return the same job with OpenCV."""
    names = net.getUnconnectedOutLayersNames()
    image = dataset.source.read(0, gray=False).image

    def job() -> object:
        net.setInput(opencv_input(image, network))
        return net.forward(names)

    return job


if __name__ == "__main__":
    main()
