"""Small graphs for tests of the core, made with the builder and seeded weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from secateur.core.coupling import Groups
from secateur.core.ir.builder import Builder
from secateur.core.ir.heads import ClassifierHead
from secateur.core.ir.network import BlobRef, LayerInfo, Network
from secateur.core.ir.rebuild import rebuild


class Graph:
    """A builder with layers: every call makes one layer of the name given."""

    def __init__(self, channels: int = 3, size: int = 8, seed: int = 0, batch: int | str = "N"):
        self.builder = Builder("net")
        self.random = np.random.default_rng(seed)
        self.layers: list[LayerInfo] = []
        self.data = self.builder.input("data", (batch, channels, size, size))

    def layer(self, name: str, kind: str, emit: Callable[[], ir.Value]) -> ir.Value:
        self.builder.layer, self.builder.scope = len(self.layers), name
        value = emit()
        self.layers.append(LayerInfo(name=name, type=kind, tops=(str(value.name),)))
        return value

    def parameter(self, *shape: int) -> ir.Value:
        array = self.random.normal(size=shape).astype(np.float32)
        return self.builder.parameter(array, BlobRef(len(self.layers), 0, "weight"))

    def conv(
        self, name: str, x: ir.Value, out: int, kernel: int = 3, group: int = 1, bias: bool = True
    ) -> ir.Value:
        assert x.shape is not None
        into = int(x.shape[1]) // group  # type: ignore[arg-type]

        def emit() -> ir.Value:
            inputs = [x, self.parameter(out, into, kernel, kernel)]
            if bias:
                inputs.append(self.parameter(out))
            return self.builder.op("Conv", *inputs, group=group, pads=[kernel // 2] * 4)

        return self.layer(name, "Conv", emit)

    def gemm(self, name: str, x: ir.Value, out: int) -> ir.Value:
        assert x.shape is not None
        into = int(x.shape[1])  # type: ignore[arg-type]
        return self.layer(
            name,
            "Gemm",
            lambda: self.builder.op(
                "Gemm", x, self.parameter(out, into), self.parameter(out), transB=1
            ),
        )

    def op(self, name: str, kind: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
        return self.layer(name, kind, lambda: self.builder.op(kind, *inputs, **attributes))  # type: ignore[arg-type]

    def network(self, **outputs: ir.Value) -> Network:
        model = self.builder.finish(outputs)
        return Network(name="net", model=model, layers=tuple(self.layers))


def classes_of(network: Network, factor: float = 0.2) -> Network:
    """Return a classifier with smaller weights, so that it is not certain of its classes."""
    arrays = {
        name: network.array(name) * np.float32(factor)
        for name in network.graph.initializers
        if "/weight" in name
    }
    heads = tuple(ClassifierHead(output=name) for name in network.outputs)
    return replace(rebuild(network, tensors=arrays), heads=heads)


def pooled(g: Graph, x: ir.Value) -> tuple[ir.Value, ...]:
    """Emit a 2×2 pooling with positions."""
    g.builder.layer, g.builder.scope = len(g.layers), "pool"
    return g.builder.ops("MaxPool", x, count=2, kernel_shape=[2, 2], strides=[2, 2])


def scattered(g: Graph, x: ir.Value, positions: ir.Value, side: int) -> ir.Value:
    """Emit planes of zeros with the pixels of `x` where `positions` say."""
    k = g.builder.constant
    flat = g.op("flat", "Reshape", x, k([0, 0, -1]))
    where = g.op("where", "Reshape", positions, k([0, 0, -1]))
    first = g.op("first", "Slice", flat, k([0]), k([1]), k([2]))
    zero = g.op("zero", "Sub", first, first)
    plane = g.op("plane", "Pad", zero, k([0, 0, 0, 0, 0, side * side - 1]))
    placed = g.op("placed", "ScatterElements", plane, where, flat, axis=2)
    return g.op("up", "Reshape", placed, k([0, 0, side, side]))


def shown(groups: Groups) -> dict[str, object]:
    """Return group name → (layers, number of channels, sizes of the shares) or the reason."""
    return {
        group.name: (
            group.layers,
            len(group.units),
            [[len(share) for share in partition] for partition in group.partitions],
        )
        if group.prunable
        else str(group.reason)
        for group in groups.groups
    }


def random_removal(groups: Groups, random: np.random.Generator) -> np.ndarray:
    """Return a random legal removal: balance rules and kept_units are kept."""
    removed = np.zeros(groups.unit_count, dtype=bool)
    for group in groups.groups:
        for partition in group.partitions:
            path = [(0,) * len(partition), *partition.path()]
            for share, lost in zip(partition, path[random.integers(len(path))], strict=True):
                for place in random.permutation(list(share))[:lost]:
                    removed[group.units[place]] = True
    for kept in groups.kept_units:
        if removed[list(kept)].all():
            return random_removal(groups, random)
    return removed


def weights(network: Network) -> Mapping[str, tuple[int, ...]]:
    """Return initializer → shape."""
    return {
        name: tuple(value.const_value.numpy().shape)
        for name, value in network.graph.initializers.items()
        if value.const_value is not None
    }
