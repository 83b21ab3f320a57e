"""Graphs with batch normalisation, and looking into networks, for tests of repairs."""

from __future__ import annotations

import numpy as np

from secateur.core.engine.session import Session
from secateur.core.ir.network import BlobRef, Network
from secateur.core.ir.partial import between
from secateur.core.plan.state import PruningState
from support.graphs import Graph


class Normed(Graph):
    """A graph with batch normalisation, in one node as Darknet's or in two layers as Caffe's."""

    def normed(self, name, x, out, *, kernel=1, still=(), by="zero scale", caffe=False):
        """Return ReLU(BN(conv)); the channels `still` are constant."""
        b = self.builder

        def vector(low, high):
            return self.random.uniform(low, high, out).astype(np.float32)

        scale, shift, mean, variance = vector(0.5, 2), vector(-1, 1), vector(-1, 1), vector(1, 9)
        weight = self.random.normal(size=(out, x.shape[1], kernel, kernel)).astype(np.float32)
        still = list(still)
        shift[still] = self.random.uniform(50, 90, len(still))  # what ReLU does not hide
        if by == "zero scale":
            scale[still] = 0
        else:
            weight[still] = 0
        ref = self.reference

        def emit():
            y = b.op("Conv", x, b.parameter(weight, ref("weight")))
            if not caffe:
                vectors = [scale, shift, mean, variance]
                y = b.op("BatchNormalization", y, *self.vectors(vectors), epsilon=1e-5)
            else:
                plain = [np.ones(out, np.float32), np.zeros(out, np.float32)]
                plain = [b.constant(array, np.float32) for array in plain]
                y = b.op("BatchNormalization", y, *plain, *self.vectors([mean, variance]))
                factor, summand = self.vectors([scale.reshape(-1, 1, 1), shift.reshape(-1, 1, 1)])
                y = b.op("Add", b.op("Mul", y, factor), summand)
            return b.op("Relu", y)

        return self.layer(name, "Conv", emit)

    def reference(self, name):
        self.blobs = getattr(self, "blobs", 0) + 1
        return BlobRef(len(self.layers), self.blobs, name)

    def vectors(self, arrays):
        return [self.builder.parameter(array, self.reference("vector")) for array in arrays]

    def valid(self, name, x, out, kernel):
        """Return a convolution without padding."""
        return self.layer(
            name,
            "Conv",
            lambda: self.builder.op(
                "Conv", x, self.parameter(out, int(x.shape[1]), kernel, kernel), self.parameter(out)
            ),
        )


def removal(groups, **places):
    """Return the mask over units that removes channels of groups by their places."""
    removed = np.zeros(groups.unit_count, dtype=bool)
    for name, chosen in places.items():
        group = groups.by_name(name)
        removed[[group.units[place] for place in chosen]] = True
    return removed


def state_of(network, groups, removed, data=None):
    """Return the state in which a mask over units was removed and nothing compensates."""
    return PruningState.start(network, groups, data).after(removed)


def inner(network, name, data):
    """Return an inner value over all samples of a dataset."""
    part = Session(between(network, list(network.inputs), [name]))
    return np.concatenate([part.run(batch.inputs)[name] for batch in data])


def wide(channels: int = 12) -> Network:
    """Return a small network with two groups of many channels, and a normalisation to adapt."""
    g = Normed(channels=3, size=6, seed=3)
    a = g.normed("a", g.data, channels)
    return g.network(y=g.conv("out", g.op("act", "Relu", g.conv("b", a, 10)), 4))
