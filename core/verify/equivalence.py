"""Proofs that a step changed nothing: both networks run on the same inputs and must agree."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from ..data import Dataset
from ..errors import VerificationError
from ..ir.network import Network
from ..progress import Progress, silent
from .compare import Comparison, compare
from .stable_cuts import Narrow, compare_pieces, same_size, steep_nodes

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "verify_equal"]

TOLERANCE = 1e-4
"""Largest difference allowed, as a fraction of the largest absolute value of the output."""

HALF_TOLERANCE = 1e-2
"""The same for weights in 16 bits: about ten times the spacing of float16 at 1 (2⁻¹⁰)."""


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

    The inputs of nodes that amplify rounding are compared with the outputs. If any of these differ,
    the pieces between such nodes are compared one by one (see :mod:`.stable_cuts`).

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
    if not steep_nodes(first):
        comparison = compare(first, second, dataset, progress=progress)
    else:
        pieces = partial(compare_pieces, first, second, dataset, narrow, progress=progress)
        comparison = pieces(given=False)
        if not comparison.within(tolerance):
            comparison = pieces(given=True)
    if not comparison.within(tolerance):
        worst = comparison.worst
        raise VerificationError(
            f"{claim} does not hold: '{worst.a}' differs by {worst.relative:.2e} of its "
            f"largest value (at most {tolerance:.0e} is allowed)",
            hint="this is a bug in secateur; nothing was written",
        )
    return comparison


def _has_halves(network: Network) -> bool:
    """Whether a network computes in 16 bits somewhere."""
    halves = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    return any(value.dtype in halves for value in network.graph.initializers.values())
