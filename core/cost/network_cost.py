"""The cost of a network in operations and parameters, also for a removal that is only planned.

Operations are 2 · multiply-accumulates + bias additions of all convolutions and fully connected
layers, for one sample. Layers behind region pooling run once a region
(:mod:`secateur.core.ir.repeats`). The vendor's count leaves out fully connected layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..brief import brief
from ..coupling.groups import Groups
from ..coupling.indices import LabelMask, LabelVector, UnitMask
from ..coupling.trace import CostTerm
from ..ir.network import Network, blob_refs
from .blocks import LayerBlocks

__all__ = [
    "BudgetTerm",
    "Costs",
    "LayerCost",
    "MarginalSavings",
    "NetworkCost",
    "convolution_nodes",
    "measure_cost",
    "operations_by_node",
    "operations_term",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCost:
    """Operations of one sample, stored values, and multiply-accumulates (`macs`) of one layer."""

    operations: int = 0
    convolution_operations: int = 0
    parameters: int = 0
    macs: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkCost:
    """Costs of a network, in total and by layer (position in :attr:`Network.layers`)."""

    layers: dict[int, LayerCost]
    operations: int
    convolution_operations: int
    """Operations by the vendor's count: without fully connected layers."""
    parameters: int

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(
            self,
            f"{self.operations} operations",
            f"{self.parameters} parameters",
            f"{len(self.layers)} layers",
        )


def measure_cost(network: Network, groups: Groups) -> NetworkCost:
    """Return operations and parameters of a network.

    Args:
        network: the network.
        groups: its groups.
    """
    operations: dict[int | None, int] = defaultdict(int)
    convolutions: dict[int | None, int] = defaultdict(int)
    parameters: dict[int | None, int] = defaultdict(int)
    macs: dict[int | None, int] = defaultdict(int)
    spatial = convolution_nodes(network)
    costs = Costs(network, groups)
    for cost_term in groups.cost_terms:
        count = int(costs.of(operations_term(cost_term), None))
        operations[cost_term.layer] += count
        biases = int(len(cost_term.out) * operations_term(cost_term).channel)
        macs[cost_term.layer] += (count - biases) // 2
        convolutions[cost_term.layer] += count if cost_term.node in spatial else 0
    for value in network.graph.initializers.values():
        if value.const_value is not None and (refs := blob_refs(value)):
            parameters[refs[0].layer] += value.const_value.size
    return NetworkCost(
        layers={
            index: LayerCost(
                operations=operations[index],
                convolution_operations=convolutions[index],
                parameters=parameters[index],
                macs=macs[index],
            )
            for index in range(len(network.layers))
        },
        operations=sum(operations.values()),
        convolution_operations=sum(convolutions.values()),
        parameters=sum(parameters.values()),
    )


def operations_by_node(network: Network, groups: Groups) -> dict[str, int]:
    """Return the operations of one sample for each multiplying node, by its key."""
    costs = Costs(network, groups)
    return {
        cost_term.node: int(costs.of(operations_term(cost_term), None))
        for cost_term in groups.cost_terms
    }


def convolution_nodes(network: Network) -> set[str]:
    """Return the names of the nodes that convolve, transposed ones among them."""
    return {str(node.outputs[0].name) for node in network.graph if node.op_type.startswith("Conv")}


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetTerm:
    """One term of a network's cost, for any set of surviving channels.

    cost = `element` · (surviving elements of `parameter`) + `channel` · (surviving labels of `out`)

    Args:
        parameter: name of an initializer; None if the term only counts channels.
        out: labels of the channels.
        element: cost of one element.
        channel: cost of one channel.
        blocks: where channels cost in blocks: the cost. `element` and `channel` are then the mean
            that a channel saves.
    """

    parameter: str | None
    out: LabelVector
    element: float
    channel: float
    blocks: LayerBlocks | None = None


def operations_term(cost_term: CostTerm) -> BudgetTerm:
    """Return the operations of a multiplying node as a term."""
    return BudgetTerm(
        parameter=cost_term.weight,
        out=cost_term.out,
        element=_plain(2 * cost_term.positions * cost_term.rows),
        channel=_plain(cost_term.bias_positions * cost_term.rows),
    )


def _plain(number: Fraction) -> float:
    """Return a fraction as a number: a whole one where it is whole."""
    return number.numerator if number.denominator == 1 else float(number)


class Costs:
    """The cost of a network for any set of removed units, without building the pruned network.

    Args:
        network: the network.
        groups: its groups.
        terms: the terms of the cost; None for operations.
        constant: the part of the cost that does not depend on the removal, in the same unit.
    """

    def __init__(
        self,
        network: Network,
        groups: Groups,
        terms: Sequence[BudgetTerm] | None = None,
        constant: float = 0,
    ):
        self._groups = groups
        self._labels = {use.parameter: use.labels for use in groups.uses}
        self._sizes = {
            name: value.const_value.size
            for name, value in network.graph.initializers.items()
            if value.const_value is not None
        }
        self._operations = tuple(map(operations_term, groups.cost_terms))
        self.terms = self._operations if terms is None else tuple(terms)
        self.constant = constant

    @property
    def in_blocks(self) -> bool:
        """Whether channels cost in blocks, as a target computes them."""
        return any(term.blocks is not None for term in self.terms)

    def total(self, removed: UnitMask | None = None) -> float:
        """Return the cost after a removal (a mask over units)."""
        return self._sum(self.terms, removed) + self.constant

    def operations(self, removed: UnitMask | None = None) -> int:
        """Return the operations of one sample after a removal, whatever the terms count."""
        return int(self._sum(self._operations, removed))

    def of(self, term: BudgetTerm, surviving: LabelMask | None) -> float:
        """Return the cost of one term; `surviving` is a mask over labels, None for all."""
        if term.blocks is not None:
            return term.blocks.of(surviving)
        out = len(term.out) if surviving is None else int(surviving[term.out].sum())
        return term.element * self._elements(term.parameter, surviving) + out * term.channel

    def shape(self, term: BudgetTerm) -> tuple[LabelVector, LabelVector, int, bool]:
        """Return labels and size of a term's parameter.

        Returns:
            labels of the outputs, distinct labels of the inputs, number of elements, and whether
            there are elements for each pair of output and input.
        """
        into = self._labels.get(term.parameter or "", ())[1:]
        inputs = np.unique(into[0]) if into else np.empty(0, np.int64)
        return term.out, inputs, self._sizes.get(term.parameter or "", 0), bool(into)

    def _elements(self, parameter: str | None, surviving: LabelMask | None) -> int:
        if parameter is None:
            return 0
        size = self._sizes[parameter]
        if surviving is None:
            return size
        labels = self._labels.get(parameter, ())
        return size * _surviving(labels, surviving) // max(_positions(labels), 1)

    def _sum(self, terms: Sequence[BudgetTerm], removed: UnitMask | None) -> float:
        surviving = None if removed is None else self._groups.surviving(removed)
        return sum(self.of(term, surviving) for term in terms)


class MarginalSavings:
    """The cost that the removal of each unit would save now, updated when units are removed.

    A parameter with R outputs, I inputs and e elements for each pair costs `element` · e · R · I +
    `channel` · R (:class:`BudgetTerm`). A unit with a of the outputs and b of the inputs saves the
    difference. `saved` holds the savings of all units. Where channels cost in blocks, it is the
    saving of a channel as a part of its block (:class:`.block_savings.BlockSavings` has the steps).
    """

    def __init__(self, groups: Groups, costs: Costs):
        self._groups = groups
        self._costs = costs
        self._removed = groups.mask(())
        self.saved = np.zeros(groups.unit_count)
        self._terms_of: dict[int, list[int]] = {}
        self._shapes = []
        self._savings: list[npt.NDArray[np.float64]] = []
        self._left = [costs.of(term, None) for term in costs.terms]
        for number, term in enumerate(costs.terms):
            out, inputs, size, multiplied = costs.shape(term)
            made = np.bincount(groups.units[out], minlength=groups.unit_count)
            read = np.bincount(groups.units[inputs], minlength=groups.unit_count)
            units = np.flatnonzero(made + read)
            factor = term.element * size / (max(len(out), 1) * max(len(inputs), 1))
            self._shapes.append((units, made[units], read[units], factor, multiplied))
            self._savings.append(np.zeros(len(units)))
            for unit in units.tolist():
                self._terms_of.setdefault(unit, []).append(number)
            self._update(number)

    def left(self) -> float:
        """Return the cost of the remaining network."""
        return sum(self._left) + self._costs.constant

    def remove(self, unit: int) -> None:
        """Note the removal of a unit."""
        self._removed[unit] = True
        surviving = self._groups.surviving(self._removed)
        for number in self._terms_of.get(unit, ()):
            self._left[number] = self._costs.of(self._costs.terms[number], surviving)
            self._update(number)

    def _update(self, number: int) -> None:
        """Update the savings of the units that a term depends on."""
        units, made, read, factor, multiplied = self._shapes[number]
        here = ~self._removed[units]
        outputs, inputs = int((made * here).sum()), int((read * here).sum())
        elements = made * inputs + read * outputs - made * read if multiplied else made
        savings = factor * elements + made * self._costs.terms[number].channel
        self.saved[units] += savings - self._savings[number]
        self._savings[number] = savings


def _positions(labels: tuple[LabelVector, ...]) -> int:
    return int(np.prod(np.broadcast_shapes(*(array.shape for array in labels))))


def _surviving(labels: tuple[LabelVector, ...], surviving: LabelMask) -> int:
    """Return the number of positions of the broadcast labels that survive."""
    kept = [surviving[array] for array in labels]
    if sum(array.ndim and max(array.shape) > 1 for array in kept) and all(
        sum(size > 1 for size in sizes) <= 1
        for sizes in zip(*(array.shape for array in kept), strict=True)
    ):
        return int(np.prod([int(array.sum()) for array in kept]))
    return int(np.logical_and.reduce(np.broadcast_arrays(*kept)).sum())
