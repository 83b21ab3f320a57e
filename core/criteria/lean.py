"""LEAN: Schoonhoven, Hendriksen, Pelt, Batenburg, LEAN: graph-based pruning for convolutional
neural networks by extracting longest chains, 2020 (arXiv 2011.06923).

The network is a graph with a node for each channel and an edge for each kernel. The length of an
edge is the operator norm of the kernel on a periodic grid of :data:`GRID` × :data:`GRID`:

    max over frequencies of |FFT(kernel)|

A stride s splits the kernel into its s × s phases, each on a grid as much smaller; the norm is the
maximum over frequencies of the root of the sum of their squares. A normalisation multiplies it by
|γ|/σ. Whatever else passes a channel on (sums, joins, pooling, activations) is an edge of length 1.

Again and again the chain with the largest product of lengths is extracted from the graph: its
channels are kept and its edges removed. A chain whose product falls below 1 on the way begins anew,
as in the authors' code. The score of a channel is the place of its first chain from the end, so
channels that no strong chain passes through leave first. Where no chain is longer than 1, or
:data:`PATIENCE` chains in a row found no other channel, the rest follows by the longest single edge
that reaches a channel, in its first length.

A row of a fully connected layer reads a channel at all positions; its length is the L2 norm over
them.

The method prunes kernels, in steps with training between them. Here whole channels are ordered, as
files can be smaller by channels only. A chain may then pass a kept channel again by other edges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coupling.groups import Groups
from ..ir.network import Network
from ..ir.weighted import WEIGHTED
from .folded import folded
from .longest_chains import Hop, LongestChains
from .registry import ScoreContext, Scores, criterion

__all__ = ["GRID", "chains", "kernel_norms", "operator_norms"]

GRID = 16
"""Points of the periodic grid along each axis, as in the paper. A larger kernel takes a larger
one."""

PATIENCE = 200
"""Chains in a row without another channel after which the rest is ordered by single edges. The
authors' code stops after 1,000 single kernels in a row; it looks for kernels, which are more."""

BLOCK_BYTES = 1 << 26
"""Bytes that the frequencies of the kernels of some outputs may take; others are computed after."""

FLOAT_BYTES = 8
"""Bytes of a number here."""

Matrix = npt.NDArray[np.float64]


@criterion(
    "lean",
    summary="chains of kernels with the largest operator norms stay",
    source="Schoonhoven et al., arXiv 2011.06923",
    cost="a pass over all kernels for each chain",
    comparable=True,
)
def lean(context: ScoreContext) -> Scores:
    """Return the place of each unit's first chain from the end, above 0 and up to 1."""
    groups = context.groups
    wanted = groups.mask(unit for group in groups.groups for unit in group.removable())
    order, rest = chains(context.network, groups, wanted)
    scores = np.ones(groups.unit_count)
    places = {unit: place for place, unit in enumerate([*order, *rest])}
    count = max(len(places), 1)
    for unit, place in places.items():
        scores[unit] = (count - place) / count
    return scores


def operator_norms(kernels: Matrix, strides: Sequence[int] = ()) -> Matrix:
    """Return the operator norm of every kernel on a periodic grid.

    Args:
        kernels: [outputs, inputs, kernel…]; without kernel axes, the norm is the absolute value.
        strides: one number an axis; none for 1.
    """
    sizes = kernels.shape[2:]
    if not sizes:
        return np.abs(kernels)
    if all(size == 1 for size in sizes):
        return np.abs(kernels.reshape(kernels.shape[:2]))
    strides = tuple(strides) or (1,) * len(sizes)
    # Rounded up to the stride, so that every tap has a place.
    grids = [
        -(-max(GRID, -(-size // GRID) * GRID) // stride) * stride
        for size, stride in zip(sizes, strides, strict=True)
    ]
    row = 2 * FLOAT_BYTES * kernels.shape[1] * math.prod(grids)
    rows = max(1, BLOCK_BYTES // max(1, row))
    norms = np.zeros(kernels.shape[:2])
    for start in range(0, len(kernels), rows):
        block = slice(start, start + rows)
        norms[block] = _block_norms(kernels[block], grids, strides)
    return norms


def kernel_norms(node: ir.Node, kernels: Matrix) -> Matrix:
    """Return the operator norm of every kernel of a layer.

    A transposed convolution has the norm of the convolution that it is the transpose of. Dilation
    stretches the spectrum of a kernel, which leaves its maximum; with a stride the taps are spread,
    as its phases take them.

    Args:
        node: a convolution or a product.
        kernels: its weights, with the kernel axes last.
    """
    axes = kernels.ndim - 2
    if not axes:
        return operator_norms(kernels)
    strides = _integers(node, "strides", axes)
    dilations = _integers(node, "dilations", axes)
    if max(dilations) > 1 and max(strides) > 1:
        sizes = [(size - 1) * d + 1 for size, d in zip(kernels.shape[2:], dilations, strict=True)]
        spread = np.zeros((*kernels.shape[:2], *sizes))
        taps = tuple(slice(None, None, step) for step in dilations)
        spread[(slice(None), slice(None), *taps)] = kernels
        kernels = spread
    return operator_norms(kernels, strides)


def _integers(node: ir.Node, name: str, count: int) -> tuple[int, ...]:
    given = node.attributes.get(name)
    return tuple(given.as_ints()) if given is not None else (1,) * count


def _block_norms(kernels: Matrix, grids: Sequence[int], strides: Sequence[int]) -> Matrix:
    """Return the operator norm of every kernel on a grid, which its strides divide.

    Kernels are real, so one half of the frequencies has the absolute values of the other.
    """
    axes = tuple(range(2, kernels.ndim))
    shape = [grid // stride for grid, stride in zip(grids, strides, strict=True)]
    squares: Matrix | None = None
    for phase in np.ndindex(*strides):
        taps = tuple(slice(p, None, s) for p, s in zip(phase, strides, strict=True))
        part = kernels[(slice(None), slice(None), *taps)]
        if not part.size:
            continue
        own = np.square(np.abs(np.fft.rfftn(part, shape, axes)))
        squares = own if squares is None else squares + own
    assert squares is not None, "a kernel has at least one tap"
    norms: Matrix = np.sqrt(squares.max(axis=axes))
    return norms


def chains(
    network: Network, groups: Groups, wanted: npt.NDArray[np.bool_]
) -> tuple[list[int], list[int]]:
    """Return wanted units in the order in which chains take them, and those that none took.

    Args:
        network: the network.
        groups: its groups.
        wanted: mask over units.
    """
    units = {name: np.unique(groups.units[labels.vector]) for name, labels in groups.values.items()}
    hops = _hops(network, groups, units)
    strongest = _strongest(hops, units, groups.unit_count)
    longest = LongestChains(hops, {name: len(own) for name, own in units.items()})
    order: list[int] = []
    left = wanted.copy()
    idle = 0
    while left.any() and idle < PATIENCE:
        chain = longest.take()
        if chain is None:
            break
        taken = dict.fromkeys(int(units[name][place]) for name, place in chain.nodes)
        own = [unit for unit in taken if left[unit]]
        left[own] = False
        order += own
        idle = 0 if own else idle + 1
    rest = np.flatnonzero(left)
    return order, rest[np.argsort(-strongest[rest], kind="stable")].tolist()


def _hops(
    network: Network, groups: Groups, units: Mapping[str, npt.NDArray[np.int64]]
) -> list[Hop]:
    """Return the nodes of the graph in its order."""
    weights = {use.parameter: use.labels for use in groups.uses if use.role == "weight"}
    behind = {name: after.factor for name, (_, after) in folded(network).items()}
    found = []
    for node in network.graph:
        reads = tuple(str(v.name) for v in node.inputs if v is not None and v.name in units)
        makes = [str(v.name) for v in node.outputs if v.name in units]
        weight = next(
            (str(v.name) for v in node.inputs if v is not None and v.name in weights), None
        )
        for made in makes if reads else ():
            if weight is None or node.op_type not in WEIGHTED:
                found.append(_passing(reads, made, units, None))
                continue
            lengths = _lengths(network, groups, node, weight, weights[weight], behind.get(weight))
            if len(weights[weight]) > 1:
                matrix = np.full((len(units[made]), len(units[reads[0]])), -np.inf)
                out, into, size = lengths
                keep = np.isin(out, units[made]) & np.isin(into, units[reads[0]])
                np.maximum.at(
                    matrix,
                    (np.searchsorted(units[made], out[keep]),
                     np.searchsorted(units[reads[0]], into[keep])),
                    size[keep],
                )  # fmt: skip
                found.append(Hop(reads[:1], made, matrix))
            else:
                vector = np.full(len(units[made]), -np.inf)
                np.maximum.at(vector, np.searchsorted(units[made], lengths[0]), lengths[2])
                found.append(_passing(reads, made, units, vector))
    return found


def _passing(
    reads: tuple[str, ...],
    made: str,
    units: Mapping[str, npt.NDArray[np.int64]],
    lengths: Matrix | None,
) -> Hop:
    """Return a node that passes channels on."""
    places = []
    for name in reads:
        place = np.searchsorted(units[name], units[made])
        place = np.minimum(place, max(len(units[name]) - 1, 0))
        there = units[name][place] == units[made] if len(units[name]) else np.zeros(0, np.bool_)
        places.append(np.where(there, place, -1))
    return Hop(reads, made, lengths, tuple(places))


def _lengths(
    network: Network,
    groups: Groups,
    node: ir.Node,
    weight: str,
    labels: tuple[npt.NDArray[np.int64], ...],
    factor: Matrix | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix]:
    """Return the unit made, the unit read and the logarithm of the length of every edge."""
    kernels = network.array(weight).astype(np.float64)
    shape = kernels.shape[:2]
    flat = [np.broadcast_to(each.reshape(each.shape[:2]), shape) for each in labels]
    norms = kernel_norms(node, kernels)
    made = groups.units[flat[0]]
    if factor is not None and node.op_type == "Conv":
        norms = norms * np.abs(factor)[:, None]
    elif factor is not None:
        channels = groups.values[str(node.outputs[0].name)].vector
        by_label = np.ones(len(groups.units))
        by_label[channels] = np.abs(factor) if len(channels) == len(factor) else 1.0
        norms = norms * by_label[flat[0]]
    read = groups.units[flat[-1]]
    if kernels.ndim == 2:
        made, read, norms = _joined(made.ravel(), read.ravel(), norms.ravel())
    with np.errstate(divide="ignore"):
        return made.ravel(), read.ravel(), np.log(norms).ravel()


def _joined(
    made: npt.NDArray[np.int64], read: npt.NDArray[np.int64], norms: Matrix
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix]:
    """Return edges between the same units as one: the L2 norm over the positions of a channel."""
    count = int(read.max(initial=0)) + 1
    keys, places = np.unique(made * count + read, return_inverse=True)
    squares = np.bincount(places.reshape(-1), np.square(norms))
    return keys // count, keys % count, np.sqrt(squares)


def _strongest(
    hops: Sequence[Hop], units: Mapping[str, npt.NDArray[np.int64]], count: int
) -> Matrix:
    """Return the logarithm of the longest edge that reaches each unit, [units]."""
    found = np.full(count, -np.inf)
    for hop in hops:
        if hop.lengths is not None:
            own = hop.lengths if hop.lengths.ndim == 1 else hop.lengths.max(axis=1, initial=-np.inf)
            np.maximum.at(found, units[hop.makes], own)
    return found
