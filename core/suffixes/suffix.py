"""The part of a network that depends on the channels of one group, with the choice as an input.

Removing a channel removes its term from the sums of every operator that consumes it, and changes
no value before these operators. So the values that the consumers read are multiplied by a mask that
is fed at run time. One session serves all choices, and all values before the first consumer are
computed once for all choices. A window over channels (:mod:`..ir.windows`) closes up over removed
ones; it is fed as well. Zeroing the producers, too, as :func:`~..coupling.edit.mask` does,
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
from ..engine.placement import devices, here
from ..engine.session import Arrays
from ..ir.assemble import Assembly
from ..ir.footprint import stored_bytes
from ..ir.network import Network
from ..ir.partial import nodes_between
from ..ir.rebuild import node_key
from ..ir.windows import Window, windows

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
        windows: name of a window over channels → their labels, and the window.
    """

    def __init__(
        self,
        network: Network,
        *,
        position: int,
        context: tuple[str, ...],
        masked: Mapping[str, tuple[LabelVector, tuple[int, ...]]],
        windows: Mapping[str, tuple[LabelVector, Window]],
    ):
        self.network = network
        self.position = position
        self.context = context
        self._masked = masked
        self._windows = windows
        self._devices = devices()
        self._part: Part | None = None
        self._lock = threading.Lock()

    def masks(self, surviving: LabelMask) -> Arrays:
        """Return the masks for a choice; `surviving` is a mask over labels."""
        return {
            PREFIX + name: surviving[labels].astype(np.float32).reshape(shape)
            for name, (labels, shape) in self._masked.items()
        } | {
            PREFIX + name: window.among(surviving[labels])
            for name, (labels, window) in self._windows.items()
        }

    def compute(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Return the outputs that depend on the group; safe in several threads at once."""
        with self._lock:
            if self._part is None:
                # Threads that compute know of no device, and workers have their own.
                with here(self._devices if self._devices.places else devices()):
                    self._part = Part(self.network)
            part = self._part
        return part.compute(feeds)

    def release(self) -> None:
        """Give up the memory of what computes; it is made again where it is needed again.

        A session on an accelerator keeps what its largest run took there.
        """
        with self._lock:
            self._part = None

    def __sizeof__(self) -> int:
        # Dask sends large arguments to each worker once, and looks at this.
        return 1024 + stored_bytes(self.network)

    def __getstate__(self) -> dict[str, Any]:
        model = ir.serde.serialize_model(self.network.model).SerializeToString()
        return {
            "name": self.network.name,
            "model": model,
            "position": self.position,
            "context": self.context,
            "masked": dict(self._masked),
            "windows": dict(self._windows),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        import onnx

        model = ir.serde.deserialize_model(onnx.load_model_from_string(state["model"]))
        self.__init__(  # type: ignore[misc]  # an object from another process is made again
            Network(name=state["name"], model=model),
            position=state["position"],
            context=state["context"],
            masked=state["masked"],
            windows=state["windows"],
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
    own_windows = _windows(network, groups, group)
    masked = {str(node.inputs[0].name) for node in consumers.values() if node.inputs[0]}
    dependent: set[str] = set()
    for node in network.graph:
        if node_key(node) in (*consumers, *own_windows) or any(
            value is not None and value.name in dependent for value in node.inputs
        ):
            dependent.update(str(value.name) for value in node.outputs)
    wanted = [name for name in network.outputs if name in outputs and name in dependent]
    if not wanted:
        return None
    known = set(network.values()) - dependent
    nodes = nodes_between(network, known, wanted)
    part = _with_masks(network, groups, nodes, consumers, own_windows, wanted)
    keys = [node_key(node) for node in network.graph]
    return Suffix(
        part,
        position=min(keys.index(key) for key in (*consumers, *own_windows)),
        context=tuple(name for name in part.inputs if not name.startswith(PREFIX)),
        masked={name: _mask_of(groups, name) for name in sorted(masked)
                if PREFIX + name in part.inputs},
        windows={
            name: (groups.values[read].vector, window)
            for name, read, window in own_windows.values() if PREFIX + name in part.inputs
        },
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


def _windows(network: Network, groups: Groups, group: Group) -> dict[str, tuple[str, str, Window]]:
    """Return the nodes that sum over neighbouring channels of the group, by their keys.

    Each comes with the name of its window, the name of the value it reads, and the window.
    """
    units = set(group.units)
    found = {}
    for node, name, window in windows(network):
        read = str(node.inputs[1].name) if node.inputs[1] is not None else ""
        labels = groups.values.get(read)
        if not window.free or labels is None:
            continue
        if not units.isdisjoint(groups.units[labels.vector].tolist()):
            found[node_key(node)] = name, read, window
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
    own_windows: Mapping[str, tuple[str, str, Window]],
    outputs: Sequence[str],
) -> Network:
    """Return some nodes as a network that multiplies what consumers read by masks.

    Args:
        network: the whole network.
        groups: its groups.
        nodes: nodes of the network, in order.
        consumers: keys of the nodes that read a masked value.
        own_windows: as :func:`_windows` returns them.
        outputs: names of the values that become outputs.
    """
    part = Assembly(network)
    masked: dict[str, ir.Value] = {}
    for node in nodes:
        part.take_read(node)
        if node_key(node) in own_windows:
            name, _, window = own_windows[node_key(node)]
            matrix = part.values[name]
            fed = part.input(PREFIX + name, window.matrix.shape, like=matrix)
            part.add(node, reads={name: fed})
            continue
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
