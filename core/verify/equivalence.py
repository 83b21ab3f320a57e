"""Proofs that a step changed nothing: both networks run on the same inputs and must agree."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from ..data import Dataset
from ..engine.placement import on_processor
from ..errors import VerificationError
from ..ir.network import Network
from ..ir.partial import severed
from ..progress import Progress, silent
from .compare import Comparison, compare
from .conditioning import stirred_values
from .stable_cuts import (
    Narrow,
    Stirred,
    compare_pieces,
    cut_values,
    hidden_in_both,
    same_size,
    shared_values,
)

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "verify_equal"]

TOLERANCE = 1e-4
"""Largest difference allowed, as a fraction of the largest absolute value of the output."""

PIECES = (256.0, 16.0, 1.0)
"""How much rounding a piece may gather, in units of that of one node. The first is a third of
:data:`TOLERANCE` where a node rounds by 1e-7, as sums of 32 bits do; with the last, every node is a
piece."""

HALF_TOLERANCE = 1e-2
"""The same for weights in 16 bits: about ten times the spacing of float16 at 1 (2⁻¹⁰)."""


@on_processor()
def verify_equal(
    claim: str,
    first: Network,
    second: Network,
    dataset: Dataset,
    *,
    tolerance: float | None = None,
    narrow: Narrow = same_size,
    progress: Progress = silent,
) -> Comparison:
    """Run two networks on the same inputs, and return their differences.

    Values whose differences the outputs hide are compared with the outputs (see
    :mod:`.conditioning`). If any of these differ, the networks are cut where rounding grows, and
    the pieces are compared one by one (see :mod:`.stable_cuts`). The networks run on the processor,
    whatever device is in use.

    Args:
        claim: what is verified, for messages ("masked = dense").
        first: the reference.
        second: the network that must equal it.
        dataset: inputs for both.
        tolerance: largest relative difference allowed; None for :data:`TOLERANCE`, or
            :data:`HALF_TOLERANCE` with weights in 16 bits.
        narrow: maps a value of `first` to the channels that `second` has.
        progress: called with the number of samples done.

    Raises:
        VerificationError: an output differs by more than `tolerance`.
    """
    if tolerance is None:
        tolerance = HALF_TOLERANCE if _has_halves(first) else TOLERANCE
    check = partial(_compared, tolerance=tolerance, narrow=narrow, progress=progress)
    comparison = check(first, second, dataset)
    if comparison.within(tolerance):
        stirred = _stirred(first, second, dataset, narrow)
        if stirred is not None and not (found := check(*stirred)).within(tolerance):
            comparison = found
    if not comparison.within(tolerance):
        worst = comparison.worst
        raise VerificationError(
            f"{claim} does not hold: '{worst.a}' differs by {worst.relative:.2e} of its "
            f"largest value (at most {tolerance:.0e} is allowed)",
            hint="this is a bug in secateur; nothing was written",
        )
    return comparison


def _stirred(
    first: Network, second: Network, dataset: Dataset, narrow: Narrow
) -> tuple[Network, Network, Dataset] | None:
    """Return both networks cut at the values that may leave what follows with too little to work
    on, and a sample for them with noise there; None where there are no such values.
    """
    shared = frozenset(shared_values(first, second, narrow))
    cuts = [name for name in stirred_values(first) if name in shared]
    if not cuts:
        return None
    wanted = list(dict.fromkeys((*first.outputs, *cuts)))
    a, b = (severed(network, cuts, wanted) for network in (first, second))
    return a, b, Stirred(first, cuts, a.inputs, dataset)


def _compared(
    first: Network,
    second: Network,
    dataset: Dataset,
    tolerance: float,
    narrow: Narrow,
    progress: Progress,
) -> Comparison:
    """Return the differences of the whole networks, or those of pieces where these are too large.

    The networks are cut into smaller and smaller pieces, as long as a piece differs.
    """
    if not all(name in second.values() for name in (*first.outputs, *first.inputs)):
        return compare(first, second, dataset, progress=progress)  # paired by their order
    pieces = partial(
        compare_pieces, first, second, dataset, narrow,
        inner=hidden_in_both(first, second, narrow), progress=progress,
    )  # fmt: skip
    comparison = pieces()
    cuts: dict[str, None] = {}
    for limit in PIECES:
        if comparison.within(tolerance):
            break
        found = cut_values(first, second, dataset, comparison.worst.sample, narrow, limit=limit)
        more = dict.fromkeys((*cuts, *found))
        if len(more) == len(cuts):
            continue
        cuts = more
        comparison = pieces(cuts=list(cuts))
    return comparison


def _has_halves(network: Network) -> bool:
    """Whether a network computes in 16 bits somewhere."""
    halves = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    return any(value.dtype in halves for value in network.graph.initializers.values())
