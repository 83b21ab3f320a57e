"""The part of a network that depends on the channels of one group, with the choice as an input.

Removing a channel removes its term from the sums of every operator that consumes it, and changes
no value before these operators. So the values that the consumers read are multiplied by a mask that
is fed at run time. One session serves all choices, and all values before the first consumer are
computed once for all choices. Zeroing the producers, too, as :func:`~..coupling.edit.mask` does,
would not change the outputs.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from ..coupling.groups import Group, Groups
from ..coupling.indices import LabelMask, LabelVector
from ..engine.cached_session import Part
from ..engine.session import Arrays
from ..ir.assemble import Assembly
from ..ir.network import Network
from ..ir.partial import nodes_between
from ..ir.rebuild import node_key

__all__ = ["Suffix", "make_suffix"]

PREFIX = "mask:"
"""Prefix of the inputs that are masks; the name of the masked value follows."""


class Suffix:
    """The consumers of a group and the nodes after them; it can be sent to other processes.

    Args:
        network: the nodes, with the context and the masks as inputs.
        position: of the first consumer among the nodes of the whole network.
        context: names of the values of the whole network that the nodes read.
        masked: name of a masked value → labels of its channels, and the shape of its mask.
    """

    def __init__(
        self,
        network: Network,
        *,
        position: int,
        context: tuple[str, ...],
        masked: Mapping[str, tuple[LabelVector, tuple[int, ...]]],
    ):
        self.network = network
        self.position = position
        self.context = context
        self._masked = masked
        self._part: Part | None = None
        self._lock = threading.Lock()

    def masks(self, surviving: LabelMask) -> Arrays:
        """Return the masks for a choice; `surviving` is a mask over labels."""
        return {
            PREFIX + name: surviving[labels].astype(np.float32).reshape(shape)
            for name, (labels, shape) in self._masked.items()
        }

    def compute(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Return the outputs that depend on the group; safe in several threads at once."""
        with self._lock:
            if self._part is None:
                self._part = Part(self.network)
        return self._part.compute(feeds)

    def __sizeof__(self) -> int:
        # Dask sends large arguments to each worker once, and looks at this.
        values = self.network.graph.initializers.values()
        return 1024 + sum(v.const_value.nbytes for v in values if v.const_value is not None)

    def __getstate__(self) -> dict[str, Any]:
        model = ir.serde.serialize_model(self.network.model).SerializeToString()
        return {
            "name": self.network.name,
            "model": model,
            "position": self.position,
            "context": self.context,
            "masked": dict(self._masked),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        import onnx

        model = ir.serde.deserialize_model(onnx.load_model_from_string(state["model"]))
        self.__init__(  # type: ignore[misc]  # an object from another process is made again
            Network(name=state["name"], model=model),
            position=state["position"],
            context=state["context"],
            masked=state["masked"],
        )


def make_suffix(
    network: Network, groups: Groups, group: Group, outputs: Collection[str]
) -> Suffix | None:
    """Return the part that depends on the channels of a group; None if no output does.

    Args:
        network: the whole network.
        groups: its groups.
        group: one of them.
        outputs: names of the outputs that are wanted.
    """
    consumers = _consumers(network, groups, group)
    masked = {str(node.inputs[0].name) for node in consumers.values() if node.inputs[0]}
    dependent: set[str] = set()
    for node in network.graph:
        if node_key(node) in consumers or any(
            value is not None and value.name in dependent for value in node.inputs
        ):
            dependent.update(str(value.name) for value in node.outputs)
    wanted = [name for name in network.outputs if name in outputs and name in dependent]
    if not wanted:
        return None
    known = set(network.values()) - dependent
    nodes = nodes_between(network, known, wanted)
    part = _with_masks(network, groups, nodes, consumers, wanted)
    keys = [node_key(node) for node in network.graph]
    return Suffix(
        part,
        position=min(keys.index(key) for key in consumers),
        context=tuple(name for name in part.inputs if not name.startswith(PREFIX)),
        masked={name: _mask_of(groups, name) for name in sorted(masked)
                if PREFIX + name in part.inputs},
    )  # fmt: skip


def _consumers(network: Network, groups: Groups, group: Group) -> dict[str, ir.Node]:
    """Return the nodes that mix channels of the group into fresh ones, by their keys."""
    makers = {producer.node for producer in groups.producers}
    units = set(group.units)
    found = {}
    for node in network.graph:
        if node_key(node) not in makers or node.inputs[0] is None:
            continue
        labels = groups.values.get(str(node.inputs[0].name))
        if labels is not None and not units.isdisjoint(groups.units[labels.vector].tolist()):
            found[node_key(node)] = node
    return found


def _mask_of(groups: Groups, name: str) -> tuple[LabelVector, tuple[int, ...]]:
    """Return the labels of a value's channels and the shape that spreads a mask over it."""
    labels = groups.values[name]
    after = len(labels.shape) - 1 - (labels.axis or 0)
    return labels.vector, (len(labels.vector), *[1] * after)


def _with_masks(
    network: Network,
    groups: Groups,
    nodes: Sequence[ir.Node],
    consumers: Collection[str],
    outputs: Sequence[str],
) -> Network:
    """Return some nodes as a network that multiplies what consumers read by masks.

    Args:
        network: the whole network.
        groups: its groups.
        nodes: nodes of the network, in order.
        consumers: keys of the nodes that read a masked value.
        outputs: names of the values that become outputs.
    """
    part = Assembly(network)
    masked: dict[str, ir.Value] = {}
    for node in nodes:
        part.take_read(node)
        if node_key(node) not in consumers:
            part.add(node)
            continue
        data = node.inputs[0]
        assert data is not None
        name = str(data.name)
        if name not in masked:
            factor = part.input(PREFIX + name, _mask_of(groups, name)[1], like=data)
            product = f"masked:{name}"
            masked[name] = part.op("Mul", [part.values[name], factor], product, like=data)
        part.add(node, reads={name: masked[name]})
    return replace(part.network(outputs), source=None, heads=())
