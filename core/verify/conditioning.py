"""How operators pass rounding on: which amplify it, and which hide a difference.

Two networks that compute the same differ by rounding: their sums have other orders. An operator
that changes its input by a factor, normwise, also multiplies the rounding in it by a factor, its
*condition*:

    κ = (max|Δy| / max|y|) / (max|Δx| / max|x|)

For Conv, Add or Relu it is small. It is large for a sigmoid or a softmax of large numbers, for a
difference of nearly equal numbers, for an exponential, for a logarithm next to 1, for a power, and
for a quotient next to 0. None of this follows from the type alone, so κ is measured at the values
that a run computes. Only what no measurement at some values can show is declared: :data:`KINDS`.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from enum import Enum

import numpy as np
import onnx_ir as ir

from ..engine.session import Arrays, Session
from ..ir.network import Network, shape_of
from ..ir.partial import given, severed
from ..ir.subgraphs import captured

__all__ = ["KINDS", "Kind", "conditions", "cuttable", "hidden_values", "rounding", "stirred_values"]


class Kind(Enum):
    """What is known of an operator's answer to a small change, whatever its input."""

    DECIDES = "its output jumps: κ has no bound, and a change without a jump is not seen"
    LEVELS_OFF = "its output is bounded: a change of a large input is not seen"
    FADES = "it passes one range of inputs on; a change far outside is not seen"


KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        (
            "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Hardmax",
            "Less", "LessOrEqual", "NonMaxSuppression", "NonZero", "Round", "Sign", "TopK",
        ),
        Kind.DECIDES,
    ),
    **dict.fromkeys(
        ("Erf", "GRU", "HardSigmoid", "LSTM", "RNN", "Sigmoid", "Softmax", "Softsign", "Tanh"),
        Kind.LEVELS_OFF,
    ),
    **dict.fromkeys(("Clip", "Exp"), Kind.FADES),
}  # fmt: skip
"""Operators of ONNX by what their definition says of changes. A MaxPool whose positions are read
decides, too (:func:`_decides`)."""

STEP = 2.0**-16
"""Size of the change that measures κ, relative to max|x|: far above rounding (2⁻²⁴, times the root
of the number of terms of a sum), and small enough for the slope at a point."""


def hidden_values(network: Network) -> list[str]:
    """Return the values whose differences no output needs to show.

    They are read by operators alone that decide or level off, and weights have part in them that no
    other value shows. Who compares them with the outputs sees a fault of these weights as well.
    """
    nodes = list(network.graph)
    outputs = {str(value.name) for value in network.graph.outputs}
    blocking = {node for node in nodes if _kind(node) in (Kind.DECIDES, Kind.LEVELS_OFF)}
    candidates = _unseen(network, nodes, blocking, _seen(nodes, blocking, outputs))
    chosen: set[str] = set()
    seen = set(outputs)
    for node in reversed(nodes):
        fresh = {str(v.name) for v in node.outputs if v.name in candidates} - seen
        chosen |= fresh
        seen |= fresh
        if node not in blocking and any(value.name in seen for value in node.outputs):
            seen.update(_names_read(node))
    return [str(v.name) for node in nodes for v in node.outputs if v.name in chosen]


def stirred_values(network: Network) -> list[str]:
    """Return the values that may leave what follows with too little to work on.

    Large numbers that an operator of :data:`KINDS` reads can make its channels alike: all 0, all 1,
    all 6. Weights that follow then seem right with any channel. So the parts that follow are given
    noise there, too. Values that something else passes on (x · sigmoid(x)) are left out.
    """
    nodes = list(network.graph)
    weighted: set[str] = set()  # values behind which there are weights
    for node in reversed(nodes):
        if _has_weights(node) or any(value.name in weighted for value in node.outputs):
            weighted.update(_names_read(node))
    blocking = {node for node in nodes if _kind(node) is not None}
    last = {name for name in hidden_values(network) if name not in weighted}
    seen = _seen(nodes, blocking, last | {str(value.name) for value in network.graph.outputs})
    before = {node for node in blocking if any(v.name in weighted for v in node.outputs)}
    return list(_unseen(network, nodes, before, seen))


def _seen(nodes: list[ir.Node], blocking: Collection[ir.Node], shown: set[str]) -> set[str]:
    """Return the values whose differences reach shown ones through nodes that do not block."""
    seen = set(shown)
    for node in reversed(nodes):
        if node not in blocking and any(value.name in seen for value in node.outputs):
            seen.update(_names_read(node))
    return seen


def _unseen(
    network: Network, nodes: list[ir.Node], blocking: Collection[ir.Node], seen: set[str]
) -> dict[str, None]:
    """Return what blocking nodes read and neither is seen nor follows without weights from that."""
    plain = {str(value.name) for value in network.graph.inputs} | seen
    found: dict[str, None] = {}
    for node in nodes:
        read = _computed(node)
        if node in blocking:
            unseen = [str(v.name) for v in read if v.name not in plain and _float(v)]
            found.update(dict.fromkeys(unseen))
            plain.update(unseen)  # they will be looked at
        if not _has_weights(node) and all(value.name in plain for value in read):
            plain.update(str(value.name) for value in node.outputs)
    return found


def cuttable(network: Network) -> list[str]:
    """Return the values at which a network can be taken apart.

    They are floating, nodes make them, no subgraph reads them, and their first axis is the batch.
    """
    batches = {shape[0] for shape in network.inputs.values() if shape}
    inner = {name for node in network.graph for name in captured(node)}
    return [
        str(value.name)
        for node in network.graph
        for value in node.outputs
        if value.name not in inner
        and _float(value)
        and value.shape is not None
        and len(value.shape) > 0
        and shape_of(value)[0] in batches
    ]


def conditions(network: Network, inputs: Arrays) -> dict[str, float]:
    """Measure κ of every node at the values that a run on some inputs computes.

    Every node is given its inputs with a small change (see :data:`STEP`), all in one run. Whole
    numbers in a floating type (positions of a pooling, say) are exact and stay as they are.

    Args:
        network: the network.
        inputs: a few samples.

    Returns:
        name of each floating value that a node makes → κ of the node for this output; infinite
        where the change makes NaN or infinity.
    """
    cuts = cuttable(network)
    wanted = [str(v.name) for node in network.graph for v in node.outputs if v.name and _float(v)]
    values = Session(network, fetch=[*cuts, *wanted], arena=False).run(inputs)
    apart = severed(network, cuts, wanted)
    feeds = {name: _nudged(name, inputs[name]) for name in apart.inputs if name in inputs}
    exact = _whole_numbers(network)
    for name in cuts:
        if given(name) in apart.inputs:
            feeds[given(name)] = values[name] if name in exact else _nudged(name, values[name])
    answers = Session(apart, fetch=wanted, arena=False).run(feeds)
    return {name: _condition(values[name], answers[name]) for name in wanted}


def _whole_numbers(network: Network) -> set[str]:
    """Return the floating values that are made of integers, as they are or moved."""
    found: set[str] = set()
    for node in network.graph:
        read = _computed(node)
        converted = node.op_type == "Cast" and not any(_float(value) for value in read)
        if converted or (_moves(node) and all(value.name in found for value in read)):
            found.update(str(value.name) for value in node.outputs if _float(value))
    return found


def _nudged(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array with every number changed a little; exact zeros stay, as they do in sums."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    finite = np.abs(array[np.isfinite(array)])
    step = np.float32(STEP * float(finite.max(initial=0.0)))
    noise = random.uniform(-1.0, 1.0, array.shape).astype(np.float32)
    return np.asarray(array + (step * noise * (array != 0)), array.dtype)


def _condition(value: np.ndarray, answer: np.ndarray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.abs(np.subtract(answer, value, dtype=np.float64))
    change[answer == value] = 0.0
    peak = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
    largest = float(change.max(initial=0.0)) if not np.isnan(change).any() else np.inf
    if largest == 0.0:
        return 0.0
    return largest / peak / STEP if peak else np.inf


def rounding(
    network: Network, measured: Mapping[str, float], cuts: Collection[str], limit: float
) -> list[str]:
    """Return where a network is to be cut so that rounding stays small everywhere.

    Rounding is counted in units of that of a single node. Each node adds one unit to what it reads,
    times its κ. Where that would exceed the limit, what the node reads is cut: it is then exact.

    Args:
        network: the network.
        measured: κ by value, as :func:`conditions` returns it.
        cuts: the values that can be cut.
        limit: largest number of units.
    """
    units: dict[str, float] = {}
    chosen: dict[str, None] = {}
    able = frozenset(cuts)
    for node in network.graph:
        read = [str(value.name) for value in _computed(node)]
        before = max((0.0 if n in chosen else units.get(n, 0.0) for n in read), default=0.0)
        factor = np.inf if _decides(node) else max(
            (measured.get(str(value.name), 1.0) for value in node.outputs), default=1.0
        )  # fmt: skip
        if before > 0.0 and (_decides(node) or 1.0 + factor * before > limit):
            chosen.update(dict.fromkeys(name for name in read if name in able))
            left = [n for n in read if n not in chosen]
            before = max((units.get(name, 0.0) for name in left), default=0.0)
        after = before if _moves(node) else 1.0 + (factor * before if before else 0.0)
        units.update((str(value.name), min(after, limit)) for value in node.outputs)
    return list(chosen)


def _moves(node: ir.Node) -> bool:
    """Whether a node only moves numbers, which adds no rounding."""
    return node.op_type in _MOVING


_MOVING = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Relu", "Reshape",
    "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip


def _kind(node: ir.Node) -> Kind | None:
    if node.domain:
        return None
    return KINDS.get(node.op_type)


def _decides(node: ir.Node) -> bool:
    """Whether a node's output can jump: by its type, or a pooling whose positions are read."""
    if node.op_type == "MaxPool":
        return any(value.uses() for value in node.outputs[1:])
    return _kind(node) is Kind.DECIDES


def _computed(node: ir.Node) -> list[ir.Value]:
    """Return the values that a node reads and that are no constants."""
    return [v for v in node.inputs if v is not None and v.const_value is None]


def _names_read(node: ir.Node) -> list[str]:
    """Return the names of the computed values that a node or a graph inside it reads."""
    return [str(value.name) for value in _computed(node)] + captured(node)


def _has_weights(node: ir.Node) -> bool:
    return any(
        value is not None and value.const_value is not None and _float(value)
        for value in node.inputs
    )


def _float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
