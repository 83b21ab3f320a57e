"""The times of a network's layers at several numbers of channels, measured on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import onnx
from onnx import TensorProto, helper

from ..coupling import find_groups
from ..engine.session import raw_runner
from ..ir.network import IR_VERSION, OPSET, Network
from ..progress import Progress, silent
from .latency import interleaved, loads
from .layer_latency import layer_latencies
from .layer_models import LayerModel, layer_models
from .layer_times import LayerTime, Point, whole_time

__all__ = ["measured_times"]

SECONDS = 0.2
"""For how long the numbers of channels of one layer take turns."""

ROUNDS = 30
"""Most rounds of one layer."""

LEAST_SHARE = 0.05
"""A time is not taken to be shorter than this part of it, without what an empty run takes."""


def measured_times(
    network: Network, *, threads: int | None = None, progress: Progress = silent
) -> dict[str, LayerTime]:
    """Return the times of all layers: points where they multiply channels, else one number.

    How the time depends on channels is measured on each layer alone; how long the layer takes as it
    is, in the profile of the whole network, where neighbours share layouts and activations are
    fused. Points are scaled to that.

    Args:
        network: the network.
        threads: threads of a run; None for all cores of this process.
        progress: reports every layer.

    Raises:
        UnsupportedError: onnxruntime cannot run the network.
    """
    times: dict[str, LayerTime] = dict(
        layer_latencies(network, threads=threads, progress=progress).items()
    )
    models = layer_models(network, find_groups(network))
    for done, layer in enumerate(models):
        progress("timing layers at fewer channels", done, len(models))
        points = _points(layer, threads)
        alone = whole_time(points)
        for name in layer.layers:
            inside = times.get(name)
            if isinstance(inside, float) and inside > 0.0:
                scale = inside / alone
                times[name] = tuple(Point(i, o, _short(scale * ms)) for i, o, ms in points)
    progress("timing layers at fewer channels", len(models), len(models))
    return times


def _points(layer: LayerModel, threads: int | None) -> tuple[Point, ...]:
    """Return the shortest time of a layer at each of its numbers of channels."""
    counts = layer.counts()
    points: list[Point] = []
    for places in loads([layer.weight_bytes(*pair) for pair in counts]):
        points += _timed(layer, [counts[place] for place in places], threads)
    return tuple(points)


def _timed(
    layer: LayerModel, counts: Sequence[tuple[int, int]], threads: int | None
) -> list[Point]:
    """Return the shortest time of a layer at numbers of channels that take turns."""
    runs = [raw_runner(layer.model(*pair), threads) for pair in counts]
    runs.append(raw_runner(_empty(), threads))
    rounds = interleaved(
        lambda order: [_milliseconds(runs[number]) for number in order],
        len(runs), repeats=ROUNDS, warmup=1, seconds=SECONDS,
    )  # fmt: skip
    *least, nothing = (min(own) for own in rounds)
    return [
        Point(i, o, max(one - nothing, LEAST_SHARE * one) / layer.samples)
        for (i, o), one in zip(counts, least, strict=True)
    ]


def _milliseconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def _empty() -> onnx.ModelProto:
    """Return a model that does next to nothing: what a call costs whatever it computes."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "empty", [x], [y])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def _short(value: float) -> float:
    return float(f"{value:.4g}")
