"""Random scores: the baseline that every criterion has to beat (Mittal et al., WACV 2018).

score(channel) is uniform in [0, 1), from a generator with a fixed seed: the same network always
gets the same scores.
"""

from __future__ import annotations

import numpy as np

from .registry import ScoreContext, Scores, criterion

SEED = 0


@criterion("random", summary="chance, with a fixed seed", source="Mittal et al., WACV 2018")
def random(context: ScoreContext) -> Scores:
    """Return a random number for each unit."""
    groups = context.groups
    return np.random.default_rng(SEED).random(groups.unit_count)
