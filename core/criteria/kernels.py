"""The order in which single kernels of convolutions leave: LEAN as its paper has it (Schoonhoven et
al., 2020, arXiv 2011.06923), and the method that it is compared with there.

A kernel is what one channel that a convolution makes reads from one of its inputs. The graph is
that of :mod:`.lean`, with a node for each channel of each value: kernels are edges as long as their
operator norms, times the |γ|/σ behind them; all else that passes channels on is an edge of length
1. The longest chain is extracted again and again. Its kernels stay.

What the paper's networks do not have: fully connected layers end chains, and their weights are no
kernels. A normalisation that stands behind no convolution is an edge of length 1. Where channels
are reshaped into each other (a channel shuffle), a chain goes through the first of those that are
tied together. Kernels that no file stores are edges, but cannot leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coupling.groups import Groups, find_groups
from ..coupling.labels import Labels
from ..coupling.trace import static_shape
from ..ir.network import Network, blob_refs
from ..ir.rebuild import node_key
from .folded import folded
from .lean import kernel_norms
from .longest_chains import Hop, LongestChains

__all__ = ["METHODS", "Kernels", "kernel_order", "wanted"]

METHODS = ("lean", "norm")
"""Orders of kernels: by chains, and each alone by its operator norm."""

PATIENCE = 1000
"""Chains of a single kernel in a row after which the rest is ordered by norms: as in the authors'
code."""

CHANNEL_AXIS = 1
"""Axis of the values that convolutions read and make."""

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Kernels:
    """Single kernels of convolutions, in the order in which they leave.

    Args:
        weights: names of the initializers that hold them.
        places: for each kernel the position in `weights`, and those along the first two axes of the
            weight, [kernels, 3]. These are the channel made and the channel read within its group;
            of a transposed convolution the other way round.
        chained: how many of the last ones were taken as parts of chains; the others are in the
            order of their norms.
    """

    weights: tuple[str, ...]
    places: Places
    chained: int = 0

    def __len__(self) -> int:
        return len(self.places)

    def kept(self, count: int, network: Network) -> dict[str, npt.NDArray[np.bool_]]:
        """Return weight → whether each kernel is among the last ones, [first axis, second axis].

        Args:
            count: how many stay.
            network: that the kernels are of.
        """
        found = {
            name: np.zeros(network.array(name).shape[:2], dtype=np.bool_) for name in self.weights
        }
        for weight, first, second in self.places[len(self.places) - count :].tolist():
            found[self.weights[weight]][first, second] = True
        return found


@dataclass(frozen=True, eq=False, slots=True)
class _Layer:
    """A convolution.

    Args:
        node: it.
        weight: its weight.
        groups: in how many parts its channels are.
        norms: of its kernels with what stands behind them, in the shape of the weight.
    """

    node: ir.Node
    weight: str
    groups: int
    norms: Matrix

    def ends(self) -> tuple[Places, Places]:
        """Return the channel that each kernel makes and the one it reads, as the weight lies."""
        places: Places = np.indices(self.norms.shape)
        first, second = places[0], places[1]
        parts: Places = first // max(1, len(self.norms) // self.groups)
        other: Places = second + parts * self.norms.shape[1]
        return (first, other) if self.node.op_type == "Conv" else (other, first)


def kernel_order(
    network: Network,
    method: str = "lean",
    *,
    exclude: Sequence[str] = (),
    part: float = 1.0,
) -> Kernels:
    """Return the single kernels of all convolutions in the order in which they leave.

    Args:
        network: the network.
        method: one of :data:`METHODS`.
        exclude: names of layers whose kernels do not leave. Chains pass them all the same.
        part: of those that stay longest, how many are to be in the order of the chains. The others
            are in the order of their norms, which is quicker.
    """
    assert method in METHODS, "the caller looked at it"
    layers = _layers(network)
    closed = {
        str(name)
        for name, value in network.graph.initializers.items()
        if {network.layers[ref.layer].name for ref in blob_refs(value)}.intersection(exclude)
    }
    free = {
        layer.weight: layer.norms
        for layer in layers
        if layer.weight not in closed and blob_refs(network.graph.initializers[layer.weight])
    }
    weights = tuple(free)
    number = {name: place for place, name in enumerate(weights)}
    taken: dict[tuple[int, int, int], None] = {}
    if method == "lean":
        enough = wanted(part, sum(norms.size for norms in free.values()))
        for weight, first, second in _in_chains(network, layers, frozenset(free), enough):
            taken[number[weight], first, second] = None
    left = {name: np.ones(norms.shape, dtype=np.bool_) for name, norms in free.items()}
    for one, first, second in taken:
        left[weights[one]][first, second] = False
    rest = [
        np.column_stack([np.full(int(left[name].sum()), number[name]), np.argwhere(left[name])])
        for name in weights
    ]
    norms = [free[name][left[name]] for name in weights]
    places = np.concatenate(rest) if rest else np.empty((0, 3), np.int64)
    order = np.argsort(np.concatenate(norms), kind="stable") if norms else np.empty(0, np.int64)
    chained = np.array([*reversed(taken)], dtype=np.int64).reshape(-1, 3)
    return Kernels(weights, np.concatenate([places[order], chained]), len(taken))


def wanted(part: float, count: int) -> int:
    """Return how many of so many kernels a part is: at least one."""
    return max(1, round(part * count))


def _layers(network: Network) -> list[_Layer]:
    """Return all convolutions whose weights are stored."""
    behind = {name: after.factor for name, (_, after) in folded(network).items()}
    found = []
    for node in network.graph:
        weight = node.inputs[1] if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is None or weight.const_value is None:
            continue
        name = str(weight.name)
        given = node.attributes.get("group")
        groups = given.as_int() if given is not None else 1
        norms = kernel_norms(node, network.array(name).astype(np.float64))
        layer = _Layer(node, name, groups, norms)
        if name in behind:
            norms = norms * np.abs(behind[name])[layer.ends()[0]]
        found.append(_Layer(node, name, groups, norms))
    return found


def _in_chains(
    network: Network, layers: Sequence[_Layer], free: frozenset[str], enough: int
) -> list[tuple[str, int, int]]:
    """Return kernels (weight, first axis, second axis) in the order in which chains take them.

    Args:
        network: the network.
        layers: its convolutions.
        free: weights whose kernels may leave.
        enough: how many are wanted.
    """
    groups = find_groups(network)
    sizes = _sizes(groups, layers)
    hops, owners = _hops(network, groups, sizes, layers)
    longest = LongestChains(hops, sizes)
    found: dict[tuple[str, int, int], None] = {}
    alone = 0
    while len(found) < enough and alone < PATIENCE:
        chain = longest.take()
        if chain is None:
            break
        kernels = [
            (owners[edge.hop], edge.made, edge.read)
            for edge in reversed(chain.edges)  # from its beginning, as the authors mark them
            if edge.hop in owners
        ]
        for layer, made, read in kernels:
            if layer.weight in free:
                found[(layer.weight, *_kernel(layer, made, read))] = None
        alone = alone + 1 if len(kernels) == 1 else 0
    return list(found)


def _kernel(layer: _Layer, made: int, read: int) -> tuple[int, int]:
    """Return the place of a kernel along the first two axes of its weight."""
    first, other = (made, read) if layer.node.op_type == "Conv" else (read, made)
    return first, other % layer.norms.shape[1]


def _sizes(groups: Groups, layers: Sequence[_Layer]) -> dict[str, int]:
    """Return value → its number of channels, for the values that are nodes of the graph.

    These are the values whose channels are told apart, and what convolutions read.
    """
    found = {
        name: len(labels.vector)
        for name, labels in groups.values.items()
        if labels.axis is not None
    }
    for layer in layers:
        read = layer.node.inputs[0]
        assert read is not None, "an operator has its inputs"
        shape = static_shape(read)
        if shape is not None:
            found.setdefault(str(read.name), shape[CHANNEL_AXIS])
    return found


def _hops(
    network: Network, groups: Groups, sizes: Mapping[str, int], layers: Sequence[_Layer]
) -> tuple[list[Hop], dict[int, _Layer]]:
    """Return the hops of the graph in its order, and whose kernels the edges of a hop are."""
    own = {node_key(layer.node): layer for layer in layers}
    found: list[Hop] = []
    owners: dict[int, _Layer] = {}
    for node in network.graph:
        layer = own.get(node_key(node))
        if layer is not None:
            hop = _convolution(layer, sizes)
            if hop is not None:
                owners[len(found)] = layer
                found.append(hop)
            continue
        reads = [str(v.name) for v in node.inputs if v is not None and str(v.name) in groups.values]
        if node.op_type not in ("Gemm", "MatMul"):
            found += _passing(node, reads, groups, sizes)
    return found, owners


def _convolution(layer: _Layer, sizes: Mapping[str, int]) -> Hop | None:
    """Return the edges of a convolution; None where its channels are not told apart."""
    read, made = str(layer.node.inputs[0].name), str(layer.node.outputs[0].name)  # type: ignore[union-attr]
    outputs, inputs = layer.ends()
    count = (int(outputs.max(initial=-1)) + 1, int(inputs.max(initial=-1)) + 1)
    if (sizes.get(made), sizes.get(read)) != count:
        return None
    with np.errstate(divide="ignore"):
        lengths = np.log(layer.norms)
    if layer.norms.size == count[0]:  # each channel reads one: a depthwise convolution
        order = np.argsort(outputs.ravel())
        return Hop((read,), made, lengths.ravel()[order], (inputs.ravel()[order],))
    matrix = np.full(count, -np.inf)
    matrix[outputs, inputs] = lengths
    return Hop((read,), made, matrix)


def _passing(
    node: ir.Node,
    reads: Sequence[str],
    groups: Groups,
    sizes: Mapping[str, int],
) -> list[Hop]:
    """Return the edges of a node that passes channels on; none where it does not."""
    found = []
    for value in node.outputs:
        made = str(value.name)
        if made not in sizes or groups.values[made].axis is None:
            continue
        places = _places(node, reads, made, groups, sizes)
        there = [(name, place) for name, place in zip(reads, places, strict=True)
                 if name in sizes and (place >= 0).any()]  # fmt: skip
        if there:
            names, own = zip(*there, strict=True)
            found.append(Hop(names, made, None, own))
    return found


def _places(
    node: ir.Node, reads: Sequence[str], made: str, groups: Groups, sizes: Mapping[str, int]
) -> list[Places]:
    """Return for each value read the channel that every channel made comes from, −1 for none."""
    labels = groups.values[made]
    if node.op_type == "Concat":
        axis = node.attributes["axis"].as_int() % len(labels.shape)
        if axis == labels.axis:
            return _joined(node, reads, groups, sizes)
    return [_matching(groups.values[name], labels, groups) for name in reads]


def _joined(
    node: ir.Node, reads: Sequence[str], groups: Groups, sizes: Mapping[str, int]
) -> list[Places]:
    """Return the places of what stands one behind the other along the channel axis."""
    made = groups.values[str(node.outputs[0].name)]
    assert made.axis is not None, "the caller looked at it"
    found, start = [], 0
    for value in node.inputs:
        shape = static_shape(value) if value is not None else None
        assert value is not None and shape is not None, "what is joined has a shape"  # noqa: PT018
        size = shape[made.axis]
        if str(value.name) in reads:
            places = np.full(len(made.vector), -1)
            if sizes.get(str(value.name)) == size:
                places[start : start + size] = np.arange(size)
            found.append(places)
        start += size
    return found


def _matching(read: Labels, made: Labels, groups: Groups) -> Places:
    """Return the channel that every channel made comes from: of its label, else its place, else
    its unit.
    """
    count = len(made.vector)
    if read.axis is None:
        return np.full(count, -1)
    if np.array_equal(read.vector, made.vector):
        return np.arange(count)
    found = _first(read.vector, made.vector)
    if (found < 0).all() and len(read.vector) == count:
        return np.arange(count)
    return found if (found >= 0).any() else _first(
        groups.units[read.vector], groups.units[made.vector]
    )  # fmt: skip


def _first(among: Places, wanted: Places) -> Places:
    """Return where each wanted number first stands, −1 for nowhere."""
    numbers, first = np.unique(among, return_index=True)
    place = np.minimum(np.searchsorted(numbers, wanted), max(len(numbers) - 1, 0))
    return np.where(numbers[place] == wanted, first[place], -1) if len(numbers) else place - 1
