"""The state of one trace: the labels of every value, and the facts that rules state about them.

A rule (in `rules/`, one file a behaviour) reads the labels of a node's inputs and returns those of
its outputs. On the way it states facts with the methods of :class:`Trace`. The graph stays as it
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..ir.network import OPSET, Network, blob_refs, layer_of
from ..ir.rebuild import node_key
from .indices import LabelVector
from .labels import Labels, Unions, align
from .reasons import Kind, Reason

__all__ = [
    "FOLLOWER",
    "INDEX",
    "WINDOW",
    "Balance",
    "Count",
    "Producer",
    "Trace",
    "Use",
    "static_shape",
]

INDEX, FOLLOWER, WINDOW = "index", "follower", "window"
"""Roles of the numbers of channels that a node picks, and of what is only stored with a channel."""

KEEPS_VALUE = frozenset({"mean", "variance", "divisor", INDEX, FOLLOWER})
"""Roles whose elements a mask does not zero. Variances and divisors divide, and 0 / 0 is NaN. Zero
means would change nothing: the scale and the shift beside them are zeroed."""


@dataclass(frozen=True, slots=True)
class Use:
    """One parameter with the labels that its elements depend on.

    Args:
        parameter: name of the initializer.
        role: "weight", "bias", "scale", "shift", "mean", "variance", "divisor", "index",
            "follower", "window" (a matrix over channels, :mod:`..ir.windows`) or "vector".
        labels: arrays that broadcast to the parameter's shape; an element survives only if all its
            labels do. For a weight the first array holds the channels that it produces, the second
            those that it consumes.
    """

    parameter: str
    role: str
    labels: tuple[LabelVector, ...]

    @property
    def zeroed(self) -> bool:
        """Whether a mask sets the removed elements to zero."""
        return self.role not in KEEPS_VALUE


@dataclass(frozen=True, slots=True)
class Count:
    """A number in the graph that counts channels; it becomes the number of surviving labels.

    Args:
        target: name of the initializer, or key of the node, that holds the number.
        labels: labels of the channels it counts.
        entry: position in the initializer, or in the attribute if that is a list.
        attribute: name of the node's attribute; None for an initializer.
    """

    target: str
    labels: LabelVector
    entry: int | None = None
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """Parts of a value that must lose equally many channels.

    Args:
        labels: a row for each part, [parts, channels].
        subject: the layer that demands it, for reports.
    """

    labels: LabelVector
    subject: str


@dataclass(frozen=True, slots=True)
class Producer:
    """A node that produces channels.

    Args:
        node: its key.
        name: of its layer.
        labels: of its channels in their order, [channels].
    """

    node: str
    name: str
    labels: LabelVector


@dataclass(frozen=True, slots=True)
class CostTerm:
    """What one multiplying node costs, for any choice of surviving channels.

    Operations a sample = `rows` · (2 · (surviving elements of the weight) · `positions`
    + (surviving output channels) · `bias_positions`).

    Args:
        node: its key.
        layer: position of its layer in the network; None without one.
        weight: name of its weight.
        positions: positions at which each element of the weight multiplies.
        out: labels of its output channels, [channels].
        bias_positions: positions at which a bias is added to each output channel.
        rows: how often the node runs for one sample: once a region behind region pooling.
    """

    node: str
    layer: int | None
    weight: str
    positions: int
    out: LabelVector
    bias_positions: int
    rows: Fraction = Fraction(1)


@dataclass(slots=True)
class Trace:
    """Labels of a network under construction; read-only once :func:`trace` has returned it."""

    network: Network
    labels: dict[str, Labels] = field(default_factory=dict)
    unions: Unions = field(default_factory=Unions)
    uses: dict[str, Use] = field(default_factory=dict)
    counts: list[Count] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    producers: list[Producer] = field(default_factory=list)
    nonempty: list[LabelVector] = field(default_factory=list)
    """Sets of labels of which at least one must survive, since a value would be empty."""
    crowds: list[tuple[LabelVector, int]] = field(default_factory=list)
    """Sets of labels with the number that must survive, where that is more than one."""
    cost_terms: list[CostTerm] = field(default_factory=list)
    fixed: list[tuple[LabelVector, Reason]] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    """Names of values computed from parameters alone; these have no labels."""
    computed: list[tuple[ir.Value, str, tuple[LabelVector, ...]]] = field(default_factory=list)
    """Uses of these values, with role and labels; `parameters.py` traces them to stored ones."""
    whole: dict[str, Reason] = field(default_factory=dict)
    """Parameter that an operator reads as a whole → why nothing may be cut from it."""
    count: int = 0
    """Number of labels given out."""

    # -- what rules read ---------------------------------------------------------------------

    @property
    def opset(self) -> int:
        """The version of the operators in the graph."""
        return self.network.graph.opset_imports.get("", OPSET)

    def of(self, node: ir.Node, index: int) -> Labels:
        """Return the labels of an input that is a computed value."""
        value = node.inputs[index]
        assert value is not None
        return self.labels[str(value.name)]

    def known(self, node: ir.Node, index: int) -> Labels | None:
        """Return the labels of an input, or None where it is absent or a parameter."""
        if index >= len(node.inputs) or node.inputs[index] is None:
            return None
        return self.labels.get(str(node.inputs[index].name))  # type: ignore[union-attr]

    def is_parameter(self, value: ir.Value | None) -> bool:
        """Return whether a value is stored, or computed from stored ones alone."""
        return value is not None and (
            value.const_value is not None or str(value.name) in self.constants
        )

    def is_trained(self, value: ir.Value | None) -> bool:
        """Return whether a parameter is stored in the source, or computed from stored ones.

        A constant that a reader adds is the same whenever the file is read. No file can hold other
        numbers in its place.
        """
        return value is not None and (str(value.name) in self.constants or bool(blob_refs(value)))

    def layer_name(self, node: ir.Node) -> str:
        """Return the name users know a node by: that of its layer."""
        index = layer_of(node)
        return self.network.layers[index].name if index is not None else node_key(node)

    def subject(self, node: ir.Node) -> str:
        """Return the name of a node's layer with its type."""
        index = layer_of(node)
        kind = self.network.layers[index].type if index is not None else node.op_type
        return f"'{self.layer_name(node)}' ({kind})"

    # -- what rules state --------------------------------------------------------------------

    def fresh(self, node: ir.Node, count: int) -> LabelVector:
        """Return new labels for the channels that `node` produces."""
        labels = self.unowned(count)
        self.producers.append(Producer(node_key(node), self.layer_name(node), labels))
        self.nonempty.append(labels)
        return labels

    def unowned(self, count: int) -> LabelVector:
        """Return new labels without a producer: only labels united with them can remove them."""
        labels = np.arange(self.count, self.count + count, dtype=np.int64)
        self.count += count
        return labels

    def anonymous(self, reason: Reason) -> LabelVector:
        """Return one new label, fixed for a reason."""
        label = self.unowned(1)
        self.fix(label, reason)
        return label

    def fix(self, labels: npt.ArrayLike, reason: Reason) -> None:
        """State that channels cannot be removed."""
        self.fixed.append((np.unique(np.asarray(labels, dtype=np.int64)), reason))

    def balance(self, parts: LabelVector, node: ir.Node) -> None:
        """State that the rows of `parts` must lose equally many channels."""
        if parts.shape[0] > 1:
            self.balances.append(Balance(parts, self.subject(node)))
            self.nonempty.extend(parts)

    def use(self, value: ir.Value | None, role: str, *labels: LabelVector) -> None:
        """State which labels the elements of a parameter depend on.

        A parameter that is used twice unites the labels of both uses. Labels of lower rank lie
        along the last axes.
        """
        if value is None or not labels or not self.is_parameter(value):
            return
        name, shape = str(value.name), static_shape(value)
        rank = len(shape) if shape is not None else 0
        labels = tuple(a.reshape((1,) * (rank - a.ndim) + a.shape) for a in labels)
        if value.const_value is None:
            self.computed.append((value, role, labels))
            return
        earlier = self.uses.get(name)
        if earlier is None:
            self.uses[name] = Use(name, role, labels)
            return
        for first, second in zip(earlier.labels, labels, strict=True):
            self.unions.unite(first, second)

    def window(self, value: ir.Value, labels: LabelVector, least: int) -> None:
        """State that a window sums over channels, of which at least so many must survive."""
        self.use(value, WINDOW, labels.reshape(-1, 1), labels.reshape(1, -1))
        if least > 1:
            self.crowds.append((labels, least))

    def size(self, value: ir.Value | None, entry: int, labels: LabelVector | None) -> None:
        """State that an entry of a constant counts the channels with these labels."""
        if value is not None and value.const_value is not None and labels is not None:
            self.counts.append(Count(str(value.name), labels, entry=entry))

    def attribute(
        self, node: ir.Node, name: str, labels: LabelVector, entry: int | None = None
    ) -> None:
        """State that an attribute, or an entry of it, counts the channels with these labels."""
        self.counts.append(Count(node_key(node), labels, entry=entry, attribute=name))

    def given(
        self, node: ir.Node, index: int, name: str, entry: int, labels: LabelVector | None
    ) -> None:
        """State that an entry counts channels: of an input, or of its attribute in older opsets."""
        if name in node.attributes and labels is not None:
            self.attribute(node, name, labels, entry)
        elif index < len(node.inputs):
            self.size(node.inputs[index], entry, labels)

    def aligned(self, array: LabelVector, shape: Sequence[int]) -> Labels:
        """Return an array of labels in the one-axis form; see :func:`.labels.align`."""
        return align(array, shape, self.unions)


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Return the shape with symbolic sizes as 1, or None where it is not known."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else 1 for dim in value.shape)


def fix_input(state: Trace, node: ir.Node, index: int, kind: Kind) -> None:
    """Fix the labels of one input of a node, if it has any."""
    labels = state.known(node, index)
    if labels is not None:
        state.fix(labels.vector, Reason(kind, state.subject(node)))
