"""The blocks of a plan in a network: whether they are still there, and the network without them."""

from __future__ import annotations

from collections.abc import Sequence

from ..blocks import Block, Dropped, Settled, dropped, layer_names, named_blocks
from ..errors import PlanError, located
from ..ir.network import Network
from ..ir.rename import renamed
from .plan import Plan, PlanBlock, PlanBlocks

__all__ = ["blocks_left", "named_as_without", "plan_blocks", "weighted_layers", "without_blocks"]


def weighted_layers(network: Network) -> int:
    """Return how many layers of a network store parameters."""
    return sum(1 for info in network.layers if info.stored)


def plan_blocks(network: Network, blocks: Sequence[Block]) -> PlanBlocks | None:
    """Return the blocks that leave a network as a plan holds them; None for none."""
    if not blocks:
        return None
    gone = {place for block in blocks for place in block.layers}
    before = weighted_layers(network)
    lost = sum(1 for place in gone if network.layers[place].stored)
    return PlanBlocks(
        blocks=tuple(
            PlanBlock(name=block.name, layers=layer_names(network, block)) for block in blocks
        ),
        before=before,
        after=before - lost,
    )


def blocks_left(network: Network, plan: Plan) -> tuple[Block, ...]:
    """Return the blocks of a plan that are in a network; none where all have left it already.

    They have where none of their layers is there. Layers without names of their own are numbered
    anew, so that others bear their numbers: then the number of layers with weights tells.

    Raises:
        PlanError: the network is neither the one that they leave, nor the one without them.
    """
    if plan.dropped is None:
        return ()
    with located(file=plan.file, item="dropped"):
        names = {name for entry in plan.dropped.blocks for name in entry.layers}
        there = weighted_layers(network)
        if names.isdisjoint(info.name for info in network.layers):
            return ()
        if there == plan.dropped.after != plan.dropped.before:
            return ()
        if there < plan.dropped.before:
            raise PlanError(
                f"the plan drops blocks of a network in which {plan.dropped.before} layers have "
                f"weights ({plan.dropped.after} without them); in this one {there} have",
                hint="was it made for this model?",
            )
        blocks = named_blocks(network, [entry.name for entry in plan.dropped.blocks])
        layers = {block.name: layer_names(network, block) for block in blocks}
        for entry in plan.dropped.blocks:
            if layers[entry.name] != entry.layers:
                raise PlanError(
                    f"block '{entry.name}' has other layers here than in the plan",
                    hint="was it made for this model?",
                )
        return blocks


def without_blocks(network: Network, plan: Plan | None) -> Network:
    """Return a network without the blocks of a plan; the network itself where it has none left.

    Raises:
        PlanError: the plan does not fit.
        UnsupportedError: the network's files cannot say what is left of it.
    """
    found = _settled(network, plan)
    return network if found is None else found[1].network


def named_as_without(network: Network, plan: Plan | None) -> Network:
    """Return a network with its blocks, values named as they are in the network without them.

    A sum bears the name of the value that is read in place of it there, so that values of one name
    are meant to be alike.

    Raises:
        PlanError, UnsupportedError: as for :func:`without_blocks`.
    """
    found = _settled(network, plan)
    if found is None:
        return network
    state, settled = found
    stored = network.graph.initializers
    names = {old: new for old, new in settled.names.items() if old not in stored}
    last = {kept: total for total, kept in state.becomes.items()}
    for kept, total in last.items():
        names[total] = names.pop(kept)
    return renamed(network, names)


def _settled(network: Network, plan: Plan | None) -> tuple[Dropped, Settled] | None:
    blocks = blocks_left(network, plan) if plan is not None else ()
    if not blocks:
        return None
    state = dropped(network, blocks)
    return state, state.settled()
