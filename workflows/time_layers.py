"""Time the layers of this folder, and write times.csv for `secateur prune --latencies times.csv`.

    python time_layers.py [--threads N] [--rounds N]

It needs Python 3.9 and onnxruntime, on the machine where the network is to run. For another
engine, replace `prepare` below by a function of your own: it gets the path of an ONNX file of one
layer, and returns a function without arguments that computes it once. Nothing else has to change.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

MOST_LOADED = 1 << 30
"""Bytes of files that are loaded at once: as much as secateur itself loads to time networks."""


def prepare(path: Path, threads: int) -> Callable[[], object]:
    """Return a function that computes the layer in an ONNX file once."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    random = numpy.random.default_rng(0)
    feeds = {
        value.name: random.random(value.shape, numpy.float32) for value in session.get_inputs()
    }
    return lambda: session.run(None, feeds)


def loads(paths: Sequence[Path]) -> list[list[Path]]:
    """Return which files are loaded together: as many as fit, one at least."""
    found: list[list[Path]] = []
    left = 0
    for path in paths:
        size = path.stat().st_size
        if not found or size > left:
            found.append([])
            left = MOST_LOADED
        found[-1].append(path)
        left -= size
    return found


def least_times(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the shortest time of each run in milliseconds; they take turns."""
    found = [float("inf")] * len(runs)
    for turn in range(rounds + 1):
        order = range(len(runs)) if turn % 2 else reversed(range(len(runs)))
        for number in order:
            began = time.perf_counter()
            runs[number]()
            taken = (time.perf_counter() - began) * 1e3
            if turn:  # the first round is not counted
                found[number] = min(found[number], taken)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all layers, those that are alike once, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of a run")
    parser.add_argument("--rounds", type=int, default=20, help="for each layer; the least counts")
    options = parser.parse_args(arguments)
    with (HERE / "layers.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    by_layer: dict[str, list[str]] = {}
    for line in lines:
        by_layer.setdefault(line["layer"], []).append(line["file"])
    times: dict[str, float] = {}
    for number, (layer, files) in enumerate(by_layer.items(), 1):
        new = [name for name in dict.fromkeys(files) if name not in times]
        if new:
            print(f"{number} of {len(by_layer)}: {layer}", flush=True)  # noqa: T201
        for paths in loads([HERE / name for name in new]):
            runs = [prepare(path, options.threads) for path in paths]
            found = least_times(runs, max(1, options.rounds))
            times.update(zip([path.name for path in paths], found))  # noqa: B905
    path = HERE / "times.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "inputs", "outputs", "milliseconds"])
        for line in lines:
            taken = times[line["file"]] / int(line["samples"])
            writer.writerow([line["layer"], line["inputs"], line["outputs"], f"{taken:.5g}"])
    print(f"wrote {path}")  # noqa: T201


if __name__ == "__main__":
    main()
