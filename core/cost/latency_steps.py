"""Estimated milliseconds as costs, from the times of layers.

A layer with one time costs in proportion to its operations, or else to the channels that it makes.
Where a layer was timed at several numbers of channels, costs rise in steps: what :mod:`.blocks`
says of a target, with the blocks and the factors that were measured.
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

__all__ = ["fitted_steps", "latency_costs"]


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


def latency_costs(network: Network, groups: Groups, times: LayerTimes) -> Costs:
    """Return the estimated milliseconds as costs; all terms have blocks where one rises in steps.

    Args:
        network: the network.
        groups: its groups.
        times: name of a layer → its time.

    Raises:
        PlanError: as for :func:`fitted_steps`, or no layer of the table has channels.
    """
    stepped = any(isinstance(time, tuple) for time in times.values())
    model = fitted_steps(network, groups, times) if stepped else None
    work = _Work(network, groups)
    terms: list[BudgetTerm] = []
    constant = 0.0
    for name, time in times.items():
        if isinstance(time, tuple):
            assert model is not None, "it was fitted"
            a, b = model.layers[name]
            constant += a
            (term,) = work.terms[name]
            kind, _ = kind_of(work.nodes[term.node])
            terms.append(work.in_blocks(term, model.blocks[kind], b))
            continue
        _check(name, time, network)
        own = work.evenly(name, time)
        terms += (
            [work.as_blocks(term, one) for term, one in own] if stepped else [t for _, t in own]
        )
        constant += 0.0 if own else time
    if not any(term.blocks.each if term.blocks is not None else True for term in terms):
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

    def evenly(self, name: str, time: float) -> list[tuple[CostTerm | None, BudgetTerm]]:
        """Return what a layer costs in proportion to its operations, or else to its channels.

        Args:
            name: of the layer.
            time: its milliseconds.

        Returns:
            what is multiplied, None for channels alone, with the term of the cost; nothing where
            the layer has no channels, or takes no time.
        """
        if not time:
            return []
        own = [(term, operations_term(term)) for term in self.terms.get(name, ())]
        operations = sum(self._counted.of(plain, None) for _, plain in own)
        if operations:
            each = time / operations
            return [
                (term, replace(one, element=one.element * each, channel=one.channel * each))
                for term, one in own
            ]
        if name not in self.made:
            return []
        out = self.made[name]
        return [(None, BudgetTerm(parameter=None, out=out, element=0, channel=time / len(out)))]

    def as_blocks(self, multiplied: CostTerm | None, term: BudgetTerm) -> BudgetTerm:
        """Return a term that falls evenly as one in blocks of one channel.

        Args:
            multiplied: what is multiplied; None for channels alone.
            term: one of :meth:`evenly`.
        """
        if multiplied is None:
            blocks = LayerBlocks(
                out=term.out.reshape(1, -1), into=None, read=1, each=term.channel, block_in=1,
                block_out=1, depthwise=True,
            )  # fmt: skip
            return replace(term, channel=0, blocks=blocks)
        whole = self.in_blocks(multiplied, (1, 1), 1.0).blocks
        assert whole is not None, "it has blocks"
        each = self._counted.of(term, None) / whole.of(None)
        return self.in_blocks(multiplied, (1, 1), each)
