"""Fixture networks with data, and curves made by hand."""

from __future__ import annotations

from pathlib import Path

import secateur
from secateur.core.coupling import Groups, find_groups
from secateur.core.data import Dataset
from secateur.core.ir.network import Network
from secateur.core.sensitivity import Analysis, GroupAnalysis, Point
from support.graphs import Graph

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
NETWORKS = {
    "caffe": ["shapes_caffe/shapes.prototxt", "shapes_caffe/shapes.caffemodel"],
    "darknet": ["shapes_darknet/shapes.cfg", "shapes_darknet/shapes.weights"],
}


def opened(kind: str, data: str, limit: int | None = None) -> tuple[Network, Dataset]:
    network = secateur.load(*(FIXTURES / name for name in NETWORKS[kind]))
    return network, secateur.open_dataset(FIXTURES / data, network, limit=limit)


def curve(*losses: float, channels: int = 10, name: str = "a") -> Analysis:
    """An analysis of one group with a point at every channel."""
    points = tuple(
        Point(rate=k / channels, removed=k, loss=loss) for k, loss in enumerate(losses, 1)
    )
    entry = GroupAnalysis(
        name=name, layers=(name,), channels=channels, order=tuple(range(channels - 1)),
        points=points,
    )  # fmt: skip
    return Analysis(
        model="net", model_digest="", digest="", data="", samples=1, metric="Accuracy",
        original_value=0.9, criterion="l1", threshold=None, groups=(entry,),
    )  # fmt: skip


def ten() -> Groups:
    graph = Graph()
    x = graph.conv("a", graph.data, 10)
    return find_groups(graph.network(out=graph.conv("b", x, 2)))
