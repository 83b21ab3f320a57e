"""The flow: values forward from an input of ones, derivatives back from the sum of the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...coupling.groups import Groups
from ...coupling.indices import UnitMask
from ...coupling.trace import static_shape
from ...engine.session import Session
from ...errors import PlanError
from ...ir.footprint import total_bytes
from ...ir.network import Network
from ...ir.partial import between
from ...ir.weighted import WEIGHTED
from ...verify.small_input import MEMORY, smallest
from ..registry import Scores
from .maps import Array, Node, Run
from .nodes import Place, node_of

__all__ = ["Flow"]

FLOAT64 = 2
"""Bytes of a number here over those of the graph."""

TINY = 1e-290
"""What an input and an output count where ones would leave the range of float64 on the way."""


@dataclass(frozen=True, eq=False)
class _Stage:
    """One node of the flow.

    Args:
        node: what it computes.
        reads, makes: names of values.
        mixes: whether its weights make channels of others; those of depthwise layers pass them on.
        units: unit of each channel that its weights produce, [channels]; None without weights.
        axis: the axis of these channels.
    """

    node: Node
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    mixes: bool = False
    units: npt.NDArray[np.int64] | None = None
    axis: int = 1


class Flow:
    """A network of absolute weights, ready to be run for many removals.

    An operator that is no linear map, and no activation, ends the flow: what it reads counts as an
    output, and what it makes is one everywhere. Networks whose values would take more than 2 GB are
    looked at with a smaller input, where no layer has a size of its own.

    Args:
        network: the network.
        groups: its groups.
    """

    def __init__(self, network: Network, groups: Groups):
        network = _affordable(network)
        self._unit_count = groups.unit_count
        self._starts = {
            str(value.name): shape
            for value in network.graph.inputs
            if (shape := static_shape(value)) is not None
        }
        self._ends = {
            str(value.name) for value in network.graph.outputs
            if value.producer() is not None
        }  # fmt: skip
        self._stages: list[_Stage] = []
        constants = _constants(network)
        known = set(self._starts)
        for node in network.graph:
            computed = tuple(v for v in node.inputs if v is not None and v.name in known)
            if not computed and all(v is None or v.name in constants for v in node.inputs):
                continue
            known |= self._add(network, groups, node, computed, constants)
        self._ends &= known

    def _add(
        self,
        network: Network,
        groups: Groups,
        node: ir.Node,
        computed: tuple[ir.Value, ...],
        constants: dict[str, npt.NDArray[np.generic]],
    ) -> set[str]:
        """Add the stage of a node, and return the names of what it makes."""
        reads = tuple(str(value.name) for value in computed)
        found = node_of(Place(network, node, computed, constants)) if computed else None
        if found is None:
            self._ends.update(reads)
            made = {
                str(value.name): shape
                for value in node.outputs
                if (shape := static_shape(value)) is not None
            }
            self._starts.update(made)
            return set(made)
        makes = [str(value.name) for value in node.outputs if value.name]
        if node.op_type not in ("Split",):
            makes = makes[:1]
        units, axis, mixes = None, 1, False
        labels = groups.values.get(makes[0])
        if node.op_type in WEIGHTED and labels is not None and labels.axis is not None:
            units, axis = groups.units[labels.vector], labels.axis
            mixes = not _passes(node, constants)
        self._stages.append(_Stage(found, reads, tuple(makes), mixes=mixes, units=units, axis=axis))
        return set(makes)

    def scores(self, kept: UnitMask | None = None, *, local: bool = False) -> Scores:
        """Return Σ |w · ∂R/∂w| over the weights that produce each unit, [units].

        R is the sum of all outputs for an input of ones. The product is what flows through the
        channel: its value before any shift, times the derivative by it.

        Args:
            kept: mask over units; the others are zero. None for all.
            local: whether every layer that mixes channels is looked at on its own: its inputs are
                ones, and its outputs count one each. Then a channel's flow is that from the inputs
                of its producers to the outputs of its consumers.

        Raises:
            PlanError: numbers leave the range of float64.
        """
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for one in (1.0, TINY):
                found = self._scores(kept, one, local)
                if np.isfinite(found).all():
                    return found
        raise PlanError(
            "the absolute weights of this network multiply to more than numbers can hold",
            hint="take another criterion",
        )

    def _scores(self, kept: UnitMask | None, one: float, local: bool) -> Scores:
        values = {name: np.full(shape, one) for name, shape in self._starts.items()}
        runs: list[tuple[_Stage, list[Array], list[Array]]] = []
        for stage in self._stages:
            x = [values[name] for name in stage.reads]
            if local and stage.mixes:
                x = [np.full(each.shape, one) for each in x]
            y = stage.node.forward(x)
            if kept is not None and stage.units is not None and not kept[stage.units].all():
                y = [y[0] * _along(kept[stage.units].astype(np.float64), y[0].ndim, stage.axis)]
            values.update(zip(stage.makes, y, strict=False))
            runs.append((stage, x, y))
        slopes: dict[str, Array] = {}
        for name in self._ends:
            slopes[name] = np.full(values[name].shape, one)
        scores = np.zeros(self._unit_count)
        for stage, x, y in reversed(runs):
            g = [
                slopes.get(name, np.zeros(each.shape))
                for name, each in zip(stage.makes, y, strict=False)
            ]
            if stage.units is not None:
                others = tuple(axis for axis in range(y[0].ndim) if axis != stage.axis)
                np.add.at(scores, stage.units, (y[0] * g[0]).sum(axis=others))
                if kept is not None and not kept[stage.units].all():
                    lives = kept[stage.units].astype(np.float64)
                    g = [g[0] * _along(lives, y[0].ndim, stage.axis)]
            if local and stage.mixes:
                g = [np.full(each.shape, one) for each in y]
            # What only scales (a divisor, a slope) has no flow, and no derivative here.
            for name, slope in zip(stage.reads, stage.node.backward(Run(x, y, g)), strict=False):
                slopes[name] = slopes[name] + slope if name in slopes else slope
        return scores


def _affordable(network: Network) -> Network:
    """Return the network, or the same at a smaller input where its values would fill the memory.

    A forward pass keeps all of them for the backward pass, in float64.
    """
    if FLOAT64 * total_bytes(network) <= MEMORY:
        return network
    return smallest(network)[0]


def _passes(node: ir.Node, constants: dict[str, npt.NDArray[np.generic]]) -> bool:
    """Whether a convolution passes its channels on: one input a group."""
    given = node.attributes.get("group")
    group = given.as_int() if given is not None else 1
    weight = constants.get(str(node.inputs[1].name)) if node.inputs[1] is not None else None
    if group == 1 or weight is None:
        return False
    transposed = node.op_type == "ConvTranspose"
    return bool(weight.shape[0] == group if transposed else weight.shape[1] == 1)


def _along(vector: Array, rank: int, axis: int) -> Array:
    """Return a vector in a shape that broadcasts along an axis."""
    return vector.reshape([-1 if place == axis else 1 for place in range(rank)])


def _constants(network: Network) -> dict[str, npt.NDArray[np.generic]]:
    """Return every stored parameter, and what is computed from them alone."""
    found: dict[str, npt.NDArray[np.generic]] = {
        name: value.const_value.numpy()
        for name, value in network.graph.initializers.items()
        if value.const_value is not None
    }
    computed: set[str] = set()
    for node in network.graph:
        given = [str(value.name) for value in node.inputs if value is not None]
        if given and all(name in found or name in computed for name in given):
            computed.update(str(value.name) for value in node.outputs if value.name)
    names: Sequence[str] = sorted(computed)
    if names:
        found |= Session(between(network, set(), names)).run({})
    return found
