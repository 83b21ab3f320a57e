"""One small graph with every structure that couples channels: sums, joins, groups, depthwise."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from secateur.core.ir.network import Network
from support.normed import Normed


class Rich(Normed):
    """A graph with strides, dilations, pools and transposed convolutions, too."""

    def conv_with(self, name: str, x: ir.Value, shape: tuple[int, ...], **attributes: object):
        """Return a convolution with attributes of its own."""
        return self.layer(
            name,
            "Conv",
            lambda: self.builder.op("Conv", x, self.parameter(*shape), **attributes),
        )

    def up(self, name: str, x: ir.Value, into: int, out: int, group: int = 1):
        """Return a transposed convolution that doubles both sides."""
        return self.layer(
            name,
            "ConvTranspose",
            lambda: self.builder.op(
                "ConvTranspose", x, self.parameter(into, out // group, 2, 2),
                strides=[2, 2], group=group,
            ),
        )  # fmt: skip


def rich(seed: int = 0, *, depth: int = 1) -> Network:
    """Return the network; its weights are of a size that keeps outputs near one."""
    g = Rich(channels=3, size=8, seed=seed)
    a = g.normed("a", g.data, 8, kernel=1)
    for number in range(depth):
        b = g.conv(f"b{number}", g.op(f"act{number}", "LeakyRelu", a), 8)
        a = g.op(f"sum{number}", "Add", a, b)
    d = g.conv("d", a, 8, group=8)
    e = g.conv_with("e", d, (6, 4, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    f = g.conv_with("f", d, (4, 8, 3, 3), strides=[2, 2], dilations=[2, 2], pads=[2, 2, 2, 2])
    both = g.op("both", "Concat", e, f, axis=1)
    small = g.op(
        "small", "AveragePool", both, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
        count_include_pad=0,
    )  # fmt: skip
    t = g.op("relu", "Relu", g.up("t", small, 10, 6))
    flat = g.op("flat", "Flatten", g.op("again", "Concat", t, both, axis=1))
    h = g.op("bent", "Relu", g.gemm("h", flat, 7))
    return g.network(y=g.gemm("out", h, 4), z=g.conv("side", t, 2, kernel=1))


def names_of(values: np.ndarray) -> list[int]:
    """Return positions in rising order of their numbers, ties by position."""
    return np.argsort(values, kind="stable").tolist()
