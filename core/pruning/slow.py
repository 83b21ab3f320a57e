"""Why a network with fewer operations takes as long as before, or longer, and what mends it."""

from __future__ import annotations

from ..cost.latency import LOCAL
from ..engine.padding import channel_block
from ..ir.network import Network, shape_of
from ..plan.limits import BY_WIDTH
from .result import PruneResult

__all__ = ["slow_reason"]


def slow_reason(result: PruneResult) -> str:
    """Return why a pruned network is not faster on this machine, and the flag that mends it.

    Args:
        result: the network with its plan.
    """
    known = result.plan.provenance
    block = channel_block()
    odd, every = _uneven(result.network, block)
    target = known.get("target", {}).get("name")
    in_blocks = target == LOCAL or known.get("budget") == "latency"
    multiple = known.get("limits", {}).get("round_to", BY_WIDTH)
    if odd and block > 1 and (multiple == BY_WIDTH or multiple % block):
        if in_blocks:
            flag = f"--round-to {block} leaves whole blocks alone"
        elif multiple != BY_WIDTH:
            flag = f"--round-to {BY_WIDTH} keeps more of them whole"
        elif "target_latency" in known:
            flag = f"--target {LOCAL} removes whole blocks"
        else:
            flag = "--target-latency prunes until the network is fast enough"
        return (
            f"channels of {odd} of {every} convolutions are no multiple of {block}, which {LOCAL} "
            f"computes together: {flag}, and convert --pad-channels {block} fills them up"
        )
    if known.get("budget") != "latency":
        instead = " in place of --target" if target is not None else ""
        more = (
            "" if "target_latency" in known
            else ", and --target-latency prunes until the network is fast enough"
        )  # fmt: skip
        return (
            f"the layers that lost channels take little of the time: --budget latency{instead} "
            f"counts what each layer takes{more}"
        )
    return (
        "what is left is the same for any number of channels: layers without weights, and starting "
        "each layer; fewer layers (--drop-blocks) save that"
    )


def _uneven(network: Network, block: int) -> tuple[int, int]:
    """Return how many convolutions make or read an incomplete block, and how many there are.

    Inputs of the network, and of convolutions with fewer inputs than a block, count as whole.
    """
    odd = every = 0
    for node in network.graph:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type != "Conv" or weight is None or weight.shape is None:
            continue
        outputs, inputs, *_ = (int(size) for size in shape_of(weight))
        every += 1
        odd += bool(outputs % block or (inputs > block and inputs % block))
    return odd, every
