"""Data-free pruning of coupled channels: Narshana, Murti, Bhattacharyya, DFPC: Data flow driven
pruning of coupled channels without data, ICLR 2023.

What the outputs of a consumer lose by a channel is bounded by how much can reach them through it.
With A the map of a layer that makes the channel, B that of a layer that reads it, F what lies
between (normalisation, pooling), and c the channel at all its positions,

    score(c) = Σ over A, B with A before B of ‖ |B|_:,c |F|_c |A|_c,: ‖₁

the sum of all absolute entries, for every pair of a producer and a consumer that are coupled by
residual sums. Each map has a row and a column for every position, so borders and strides count.

‖|B|_:,c |A|_c,:‖₁ is the sum over the positions of c of (1ᵀ|B|) times (|A| 1). So both are passes
of ones through one layer alone, and F lies between them: :mod:`.flow` with `local`. Maximum pooling
is the mean over its window, as in the authors' code. An output of the network counts as a consumer
that passes on what it reads.
"""

from __future__ import annotations

from .flow import Flow
from .registry import ScoreContext, Scores, criterion


@criterion(
    "dfpc",
    summary="bound on what consumers can get from producers through a coupled channel",
    source="Narshana et al., ICLR 2023",
    comparable=True,
)
def dfpc(context: ScoreContext) -> Scores:
    """Return the summed bounds of each unit over all pairs of producers and consumers.

    Raises:
        PlanError: the weights are larger than numbers can hold.
    """
    return Flow(context.network, context.groups).scores(local=True)
