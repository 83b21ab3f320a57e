"""The budget: the cost that a rate is a fraction of.

Operations and parameters are counted. Latency is measured once, layer by layer, on the original
network (:mod:`.layer_latency`). For the pruned network it is estimated: the time of a layer with
weights is proportional to its operations, and that of any other layer to its output channels; where
a layer was timed at several numbers of channels, it rises in steps (:mod:`.step_model`). Real
networks differ from this model, because of caches, threads and layouts. So the latency is measured
again after pruning.
"""

from __future__ import annotations

from dataclasses import replace

from ..coupling import find_groups
from ..coupling.groups import Groups
from ..coupling.rules.attributes import int_attribute
from ..errors import PlanError
from ..ir.network import Network, blob_refs
from ..ir.rebuild import node_key
from .blocks import layer_blocks
from .budgets import CONVOLUTIONS, LATENCY, OPERATIONS, PARAMETERS, TARGET, check_budget
from .latency_steps import latency_costs
from .layer_times import LayerTimes
from .network_cost import BudgetTerm, Costs, convolution_nodes, operations_term
from .target import Target

__all__ = ["make_costs", "target_cost"]


def make_costs(
    network: Network,
    groups: Groups,
    budget: str = OPERATIONS,
    milliseconds: LayerTimes | None = None,
    target: Target | None = None,
) -> Costs:
    """Return the costs of a network in a budget.

    Args:
        network: the network.
        groups: its groups.
        budget: one of :data:`~.budgets.BUDGETS`.
        milliseconds: name of a layer → time of one sample, or times at several numbers of
            channels; needed for latency.
        target: the engine; needed for its step cost.

    Raises:
        PlanError: the budget is unknown, there is nothing that it counts, a layer of the table is
            not in the network, a time is negative or not finite, or no layer of the table has
            channels.
    """
    check_budget(budget)
    if budget == PARAMETERS:
        return _parameters(network, groups)
    if budget == CONVOLUTIONS:
        return _convolutions(network, groups)
    if budget == LATENCY:
        assert milliseconds is not None, "a latency budget needs a table"
        return latency_costs(network, groups, milliseconds)
    if budget == TARGET:
        assert target is not None, "the cost of a target needs one"
        return _in_blocks(network, groups, target)
    return Costs(network, groups)


def _convolutions(network: Network, groups: Groups) -> Costs:
    """Return the operations of convolutions alone as costs.

    Raises:
        PlanError: there is no convolution.
    """
    nodes = convolution_nodes(network)
    terms = [operations_term(term) for term in groups.cost_terms if term.node in nodes]
    if not terms:
        raise PlanError(f"network '{network.name}' has no convolution", option="budget")
    return Costs(network, groups, terms)


def target_cost(network: Network, target: Target) -> int:
    """Return the operations of a network with channels rounded up to the blocks of a target."""
    return int(make_costs(network, find_groups(network), TARGET, target=target).total())


def _in_blocks(network: Network, groups: Groups, target: Target) -> Costs:
    """Return multiplications and additions, with channels rounded up to blocks, as costs."""
    nodes = {node_key(node): node for node in network.graph}
    labels = {use.parameter: use.labels for use in groups.uses}
    terms = []
    for cost_term in groups.cost_terms:
        node, plain = nodes[cost_term.node], operations_term(cost_term)
        stored = network.graph.initializers[cost_term.weight].const_value
        assert stored is not None, "weights are stored"
        blocks = layer_blocks(
            labels.get(cost_term.weight, ()),
            cost_term.out,
            size=int(stored.size),
            groups=int_attribute(node, "group", 1),
            transposed=node.op_type == "ConvTranspose",
            work=plain.element,
            blocks=target.blocks,
        )
        terms.append(replace(plain, channel=0, blocks=blocks))
    return Costs(network, groups, terms)


def _parameters(network: Network, groups: Groups) -> Costs:
    """Return the number of stored values as costs."""
    uses = {use.parameter: use for use in groups.uses}
    terms, constant = [], 0
    for name, value in network.graph.initializers.items():
        if value.const_value is None or not blob_refs(value):
            continue
        if name in uses:
            out = uses[name].labels[0].ravel()
            terms.append(BudgetTerm(parameter=name, out=out, element=1, channel=0))
        else:
            constant += value.const_value.size
    return Costs(network, groups, terms, constant)
