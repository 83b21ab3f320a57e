"""Estimated milliseconds as costs in steps, from layers that were timed at several numbers of
channels: what :mod:`.blocks` says of a target, with the blocks and the factors that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from ..coupling.groups import Groups
from ..coupling.indices import LabelVector
from ..coupling.rules.attributes import int_attribute
from ..coupling.trace import CostTerm
from ..errors import PlanError
from ..ir.network import Network, layer_of
from ..ir.rebuild import node_key
from .blocks import LayerBlocks, layer_blocks
from .layer_models import kind_of
from .layer_times import LayerTime, LayerTimes, Point
from .network_cost import BudgetTerm, Costs, operations_term
from .owners import owner_of
from .step_model import Layer, StepModel, fit_steps

__all__ = ["fitted_steps", "stepped_costs"]


def fitted_steps(network: Network, groups: Groups, times: LayerTimes) -> StepModel:
    """Return the steps that fit the layers of a table that were timed at several numbers.

    Between convolutions, values are taken to be kept in whole blocks (`StepModel.whole_values`).

    Args:
        network: the network.
        groups: its groups.
        times: name of a layer → its time, at least one with points.

    Raises:
        PlanError: a layer is not in the network, multiplies no channels once, or a time is no
            positive number of milliseconds.
    """
    terms = _terms(network, groups)
    nodes = {node_key(node): node for node in network.graph}
    layers = {}
    for name, time in times.items():
        if not isinstance(time, tuple):
            continue
        _check(name, time, network)
        own = terms.get(name, ())
        if len(own) != 1:
            raise PlanError(
                f"the latency of '{name}' is given at several numbers of channels, but it does not "
                "multiply channels once",
                hint="give one time for it, or none",
            )
        kind, parts = kind_of(nodes[own[0].node])
        layers[name] = Layer(kind=kind, groups=parts, points=time)
    return fit_steps(layers, fit_steps(layers).whole_values())


def stepped_costs(network: Network, groups: Groups, times: LayerTimes) -> Costs:
    """Return the estimated milliseconds as costs whose terms have blocks.

    Layers with one time fall evenly: in proportion to their operations, or else to their channels.

    Args:
        network: the network.
        groups: its groups.
        times: name of a layer → its time.

    Raises:
        PlanError: as for :func:`fitted_steps`, or no layer of the table has channels.
    """
    model = fitted_steps(network, groups, times)
    work = _Work(network, groups)
    terms: list[BudgetTerm] = []
    constant = 0.0
    for name, time in times.items():
        if isinstance(time, tuple):
            a, b = model.layers[name]
            constant += a
            (term,) = work.terms[name]
            kind, _ = kind_of(work.nodes[term.node])
            terms += [work.in_blocks(term, model.blocks[kind], b)]
            continue
        _check(name, time, network)
        own = work.terms.get(name, [])
        if own:
            terms += work.evenly(own, time)
        elif name in work.made and time:
            terms.append(_by_channels(work.made[name], time))
        else:
            constant += time
    if not any(term.blocks is not None and term.blocks.each > 0 for term in terms):
        raise PlanError("no layer with a latency has channels")
    return Costs(network, groups, terms, constant)


def _check(name: str, time: LayerTime, network: Network) -> None:
    """Raise if a time is none, or not of this network.

    Raises:
        PlanError: that is so.
    """
    known = {info.name for info in network.layers} | {node_key(node) for node in network.graph}
    if name not in known:
        raise PlanError(
            f"latency was measured for layer '{name}', but the network has no such layer",
            hint="was the table measured on this network?",
        )
    for one in time if isinstance(time, tuple) else [Point(0, 0, time)]:
        if not 0.0 <= one.milliseconds < math.inf or (one.inputs and not one.milliseconds):
            raise PlanError(
                f"the latency of '{name}' must be milliseconds, got {one.milliseconds:g}"
            )


def _terms(network: Network, groups: Groups) -> Mapping[str, list[CostTerm]]:
    """Return what each layer multiplies, by its name."""
    nodes = {node_key(node): node for node in network.graph}
    found: dict[str, list[CostTerm]] = {}
    for term in groups.cost_terms:
        owner = owner_of(network, layer_of(nodes[term.node]), term.node)
        found.setdefault(owner, []).append(term)
    return found


class _Work:
    """What the layers of a network multiply, as terms with blocks."""

    def __init__(self, network: Network, groups: Groups):
        self.nodes: dict[str, ir.Node] = {node_key(node): node for node in network.graph}
        self.terms = _terms(network, groups)
        self._network, self._counted = network, Costs(network, groups)
        self._labels = {use.parameter: use.labels for use in groups.uses}
        self.made: dict[str, LabelVector] = {}
        for key, node in self.nodes.items():
            labels = groups.values.get(key)
            if labels is not None and labels.axis is not None:
                self.made[owner_of(network, layer_of(node), key)] = labels.vector

    def in_blocks(self, term: CostTerm, blocks: tuple[int, int], pair: float) -> BudgetTerm:
        """Return a term in blocks of channels.

        Args:
            term: what is multiplied.
            blocks: ICP and OCP.
            pair: milliseconds of one pair of channels; of one channel where it is depthwise.
        """
        node = self.nodes[term.node]
        stored = self._network.graph.initializers[term.weight].const_value
        assert stored is not None, "weights are stored"
        found = layer_blocks(
            self._labels.get(term.weight, ()), term.out, size=int(stored.size),
            groups=int_attribute(node, "group", 1),
            transposed=node.op_type == "ConvTranspose", work=1.0, blocks=blocks,
        )  # fmt: skip
        found = replace(found, each=pair)
        element = found.of(None) / stored.size
        plain = operations_term(term)
        return replace(plain, element=element, channel=0, blocks=found)

    def evenly(self, own: list[CostTerm], time: float) -> list[BudgetTerm]:
        """Return terms of a layer that costs in proportion to its operations."""
        operations = [self._counted.of(operations_term(term), None) for term in own]
        whole = sum(operations)
        found = []
        for term, count in zip(own, operations, strict=True):
            one = self.in_blocks(term, (1, 1), 1.0)
            assert one.blocks is not None, "it has blocks"
            found.append(self.in_blocks(term, (1, 1), time * count / whole / one.blocks.of(None)))
        return found


def _by_channels(out: LabelVector, time: float) -> BudgetTerm:
    """Return the term of a layer that costs in proportion to the channels that it makes."""
    blocks = LayerBlocks(
        out=out.reshape(1, -1), into=None, read=1, each=time / len(out), block_in=1, block_out=1,
        depthwise=True,
    )  # fmt: skip
    return BudgetTerm(parameter=None, out=out, element=0, channel=0, blocks=blocks)
