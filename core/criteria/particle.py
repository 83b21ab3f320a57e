"""Particle filter: Anwar, Hwang, Sung, Structured Pruning of Deep Convolutional Neural Networks,
2015 (arXiv 1512.08571).

A particle is a mask over all channels that can leave. At first :data:`PARTICLES` masks each remove
:data:`REMOVED` of the channels of every share at random. Then, :data:`ROUNDS` times:

1. The masked network of each particle is measured: by the misclassification of labelled samples, or
   by what the task of the data is; without labels, by how far outputs are from the original's.
2. Its weight is exp(−a · loss). The scale a is chosen so that the effective number of particles,
   (Σ w)² / Σ w², is half of them (tempering, as in Del Moral, Doucet and Jasra, 2012), whatever the
   unit of the loss.
3. Particles are drawn anew by their weights (systematic resampling).
4. Each is perturbed: :data:`PERTURBED` of the removed channels of each share come back, and as many
   others leave.

The score of a channel is the weighted part of all particles of all rounds that keep it. The paper
takes the best particle; as a criterion, the order must hold at any rate. A generator with a fixed
seed draws, so scores are the same every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..coupling.edit import mask
from ..coupling.groups import Groups
from ..coupling.indices import UnitMask
from ..data import BATCH_SIZE, Dataset
from ..data.base import batch_size, target_kind
from ..data.part import some_of
from ..data.rebatch import Rebatched
from ..engine.spread import shared_out, spread
from ..evaluation.many import ManyMeter
from ..ir.footprint import stored_bytes
from ..ir.network import Network
from ..progress import tracked
from .registry import ScoreContext, Scores, criterion

__all__ = ["perturbed", "resampled", "weights_of"]

PARTICLES = 16
ROUNDS = 8

REMOVED = 0.3
"""Part of the channels of every share that a particle removes."""

PERTURBED = 0.2
"""Part of the removed channels that are exchanged in a perturbation, one at least."""

SAMPLES = 128
"""Samples that particles are measured on, spread over the data."""

SEED = 0

Shares = Sequence[npt.NDArray[np.int64]]
"""The units of every share of which some can leave."""


@criterion(
    "particle",
    summary="how often good random masks keep a channel (particle filter)",
    source="Anwar et al., arXiv 1512.08571",
    needs_data=True,
    uses_labels=True,
    cost=f"{PARTICLES * ROUNDS} masked networks on up to {SAMPLES} samples",
    spreads=True,
)
def particle(context: ScoreContext) -> Scores:
    """Return the weighted part of all particles that keep each unit, 0 to 1.

    Raises:
        DataError: the data is broken, or does not fit the network or the task.
    """
    network, groups = context.network, context.groups
    assert context.data is not None, "the registry says that the criterion needs data"
    field = _Field(network, groups, ManyMeter(network, _samples(context), context.measured_by))
    shares = _shares(groups)
    random = np.random.default_rng(SEED)
    particles = [_drawn(groups, shares, random) for _ in range(PARTICLES)]
    kept = np.zeros(groups.unit_count)
    for _ in tracked(range(ROUNDS), "particles", ROUNDS, context.progress):
        weights = weights_of(np.array(field.losses(particles, context.jobs), dtype=np.float64))
        for weight, removed in zip(weights.tolist(), particles, strict=True):
            kept += weight * ~removed
        chosen = resampled(weights, random)
        particles = [perturbed(particles[number], shares, random) for number in chosen]
    return np.minimum(kept / ROUNDS, 1.0)


@dataclass(frozen=True, eq=False)
class _Field:
    """What particles are measured in; it can be sent to other processes."""

    network: Network
    groups: Groups
    meter: ManyMeter

    def losses(self, particles: Sequence[UnitMask], jobs: int | None) -> list[float]:
        """Return the loss of each masked network."""
        each = 2 * stored_bytes(self.network) + self.meter.run_bytes
        at_once, threads = shared_out(jobs, len(particles), each)
        calls = [(self, removed) for removed in particles]
        return list(spread(_Field.loss, calls, jobs=at_once, threads=threads))

    def loss(self, removed: UnitMask) -> float:
        """Return the loss without some units."""
        return self.meter.loss(mask(self.network, self.groups, removed))

    def __sizeof__(self) -> int:
        # Dask sends large arguments to each worker once, and looks at this.
        return 1024 + stored_bytes(self.network)


def _samples(context: ScoreContext) -> Dataset:
    """Return the samples to measure on; in batches of one size where nothing is known of them."""
    assert context.data is not None, "the registry says that the criterion needs data"
    some = some_of(context.data, context.network, SAMPLES)
    if not target_kind(some):
        some = Rebatched(some, batch_size(context.network, BATCH_SIZE))
    return some


def _shares(groups: Groups) -> list[npt.NDArray[np.int64]]:
    """Return the units of every share with more than one channel."""
    return [
        np.array(group.members(share), dtype=np.int64)
        for group in groups.groups
        for partition in group.partitions
        for share in partition
        if len(share) > 1
    ]


def _drawn(groups: Groups, shares: Shares, random: np.random.Generator) -> UnitMask:
    """Return a random mask of removed units: the same part of every share, not all of it."""
    removed = groups.mask(())
    for units in shares:
        count = min(max(1, round(REMOVED * len(units))), len(units) - 1)
        removed[random.choice(units, count, replace=False)] = True
    return removed


def weights_of(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return weights exp(−a · loss) that sum to 1, of which half are effective.

    Equal losses give equal weights, and a particle without a finite loss gets none.

    Args:
        losses: of every particle.
    """
    finite = np.isfinite(losses)
    if not finite.any():
        return np.full(len(losses), 1.0 / len(losses))
    above = np.where(finite, losses, np.inf) - losses[finite].min()

    def at(scale: float) -> npt.NDArray[np.float64]:
        weights = np.where(finite, np.exp(-scale * np.where(finite, above, 0.0)), 0.0)
        found: npt.NDArray[np.float64] = weights / weights.sum()
        return found

    def effective(scale: float) -> float:
        return 1.0 / float(np.square(at(scale)).sum())

    half = max(1.0, finite.sum() / 2.0)
    largest = float(above[finite].max())
    if largest <= 0.0:
        return at(0.0)
    low, high = 0.0, 1.0 / largest
    while effective(high) > half and high < MOST / largest:
        low, high = high, 2.0 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if effective(middle) > half else (low, middle)
    return at(high)


MOST = 2.0**40
"""A scale, in units of one over the spread of the losses, beyond which ties decide."""

HALVINGS = 60
"""Halvings of an interval, which leave nothing of it in float64."""


def resampled(
    weights: npt.NDArray[np.float64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return as many particles as there are weights, each as often as its weight says.

    One uniform number places all draws at equal distances (systematic resampling; Kitagawa, Monte
    Carlo Filter and Smoother, 1996).
    """
    places = (random.random() + np.arange(len(weights))) / len(weights)
    chosen: npt.NDArray[np.int64] = np.searchsorted(np.cumsum(weights), places).astype(np.int64)
    return np.minimum(chosen, len(weights) - 1)


def perturbed(removed: UnitMask, shares: Shares, random: np.random.Generator) -> UnitMask:
    """Return a mask in which some of the removed channels of each share are exchanged.

    Args:
        removed: mask over units.
        shares: where channels are exchanged.
        random: draws them.
    """
    found = removed.copy()
    for units in shares:
        gone, left = units[removed[units]], units[~removed[units]]
        count = min(max(1, round(PERTURBED * len(gone))), len(gone), len(left))
        found[random.choice(gone, count, replace=False)] = False
        found[random.choice(left, count, replace=False)] = True
    return UnitMask(found)
