"""Uniting the channels of networks that store the same parameters: a network and its companions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ..ir.network import Network, blob_refs
from .indices import LabelVector
from .reasons import Kind, Reason
from .trace import Trace, Use, static_shape

__all__ = ["BlobName", "blob_names", "unite_shared"]

BlobName = tuple[str, int]
"""A stored parameter in any network of the same files: name of the layer, number of the blob."""


def blob_names(network: Network, value: ir.Value) -> tuple[BlobName, ...]:
    """Return the stored parameters that an initializer holds; several where layers share it."""
    return tuple((network.layers[ref.layer].name, ref.index) for ref in blob_refs(value))


@dataclass(frozen=True, slots=True)
class _Holder:
    """A parameter in the graph of one network, with the labels that it depends on if any."""

    state: Trace
    value: ir.Value
    use: Use | None


def unite_shared(traces: Sequence[Trace]) -> None:
    """Unite the labels of parameters that several networks store as one.

    Args:
        traces: of the network and of its companions; their labels are numbered together.
    """
    known: dict[BlobName, _Holder] = {}
    for number, state in enumerate(traces if len(traces) > 1 else ()):
        if number:
            _name_companion(state)
        for value in state.network.graph.initializers.values():
            held = _Holder(state, value, state.uses.get(str(value.name)))
            for name in blob_names(state.network, value):
                if known.setdefault(name, held) is not held:
                    _unite(known[name], held)


def _unite(first: _Holder, second: _Holder) -> None:
    """Unite two holders of one parameter; fix what cannot be compared."""
    one, other = _arrays(first), _arrays(second)
    if len(one) != len(other):
        reason = Reason(Kind.OPERATOR, _reader(second), network=second.state.network.name)
        for labels in (*one, *other):
            second.state.fix(labels, reason)
        return
    same = static_shape(first.value) == static_shape(second.value)
    for own, theirs in zip(one, other, strict=True):
        if same:
            first.state.unions.unite(own, theirs)
        else:  # the same elements in the same order, in another shape
            first.state.unions.unite(*map(_flat, (own, theirs), (first.value, second.value)))


def _arrays(held: _Holder) -> tuple[LabelVector, ...]:
    return held.use.labels if held.use is not None else ()


def _flat(labels: LabelVector, value: ir.Value) -> LabelVector:
    """Return one label for each element of a parameter, in the order of the elements."""
    return np.broadcast_to(labels, static_shape(value) or ()).reshape(-1)


def _reader(held: _Holder) -> str:
    """Return the layer that stores a parameter, with its type, for reports."""
    network = held.state.network
    info = network.layers[blob_refs(held.value)[0].layer]
    return f"'{info.name}' ({info.type})"


def _name_companion(state: Trace) -> None:
    """Say in each reason of a trace which companion it comes from."""
    state.fixed = [
        (labels, replace(reason, network=state.network.name)) for labels, reason in state.fixed
    ]
