"""Recoverability of blocks: what a network loses without them, after a repair of their neighbours.

A block leaves, the layers before and behind the hole are fitted in closed form, and the features
before the heads (or before the global pooling) are compared with those of the original, on samples
that are held back: ‖difference‖² / ‖features‖². That, for the part of the cost that is saved, says
which block to drop first.

Source: Wang, Wu, Practical Network Acceleration with Tiny Sets (PRACTISE), CVPR 2023: there the
adaptors are 1×1 convolutions that are trained, and merged afterwards; here they are least squares
fits of the layers that are there (:func:`~..repair.refit.refit_beside`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..blocks import Block, Dropped, disjoint, dropped, find_blocks
from ..cost.budget import make_costs
from ..cost.budgets import LATENCY, OPERATIONS, PARAMETERS, TARGET
from ..cost.layer_times import LayerTimes, whole_time
from ..cost.network_cost import measure_cost
from ..cost.target import Target
from ..coupling import find_groups
from ..coupling.groups import Groups
from ..data import Dataset, streamed
from ..data.arrays import AnyData, as_dataset
from ..data.calibration import Calibration
from ..data.hold_out import split
from ..engine.session import Arrays, Session
from ..errors import DataError
from ..finetune.places import places_of
from ..ir.network import Network
from ..plan.state import PruningState
from ..progress import Progress, silent, tracked
from ..repair.refit import refit_beside

__all__ = ["BlockLoss", "FeatureMeter", "measure_blocks", "shares_of"]

FEATURE_BYTES = 1 << 28
"""Bytes of the original's features that are kept: they bound the samples that are measured."""

FITTED = 512
"""Most samples that a measurement fits neighbours to. The repair in the end takes all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockLoss:
    """What it costs to drop a block.

    Args:
        block: the block.
        error: of the features, ‖difference‖² / ‖features‖², with its neighbours repaired; with
            the blocks gone that were gone before.
        added: what it adds to the error without those blocks.
        saved: part of the network's cost that it saves.
    """

    block: Block
    error: float
    added: float
    saved: float

    @property
    def rank(self) -> float:
        """Error added for the whole cost saved: blocks leave in this order."""
        return self.added / self.saved if self.saved else float("inf")


def measure_blocks(
    network: Network,
    data: AnyData,
    *,
    gone: Sequence[Block] = (),
    budget: str = OPERATIONS,
    latencies: LayerTimes | None = None,
    progress: Progress = silent,
) -> tuple[BlockLoss, ...]:
    """Return what it costs to drop each block that may leave, the cheapest first.

    Args:
        network: the network.
        data: samples; some are held back for the measurement where there are enough.
        gone: blocks that have left already.
        budget: what is saved: operations, parameters or latency.
        latencies: layer → milliseconds, for a budget of latency.
        progress: told how far the work is.

    Raises:
        DataError: the data does not fit the network.
    """
    data = as_dataset(data, network)
    meter = FeatureMeter.of(network, find_groups(network), data)
    shares = shares_of(network, meter.groups, budget, latencies)
    return meter.losses(find_blocks(network), gone, shares, progress)


def shares_of(
    network: Network,
    groups: Groups,
    budget: str = OPERATIONS,
    latencies: LayerTimes | None = None,
    target: Target | None = None,
) -> dict[int, float]:
    """Return the part of a network's cost that each layer takes, by its position.

    Args:
        network: the network.
        groups: its groups.
        budget: operations, parameters, latency or target.
        latencies: layer → milliseconds, for a budget of latency.
        target: the engine whose cost counts, for a budget of target.
    """
    if budget == LATENCY:
        assert latencies is not None, "a latency budget needs a table"
        times = {name: whole_time(time) for name, time in latencies.items()}
        costs = {k: times.get(info.name, 0.0) for k, info in enumerate(network.layers)}
        whole = sum(times.values())
    elif budget == TARGET:
        found = make_costs(network, groups, TARGET, target=target)
        costs = dict.fromkeys(range(len(network.layers)), 0.0)
        for place, term in zip(groups.cost_terms, found.terms, strict=True):
            if place.layer is not None:
                costs[place.layer] += found.of(term, None)
        whole = found.total()
    else:
        counted = measure_cost(network, groups)
        chosen = "parameters" if budget == PARAMETERS else "operations"
        costs = {k: float(getattr(cost, chosen)) for k, cost in counted.layers.items()}
        whole = float(getattr(counted, chosen))
    return {place: cost / whole if whole else 0.0 for place, cost in costs.items()}


@dataclass(frozen=True, kw_only=True)
class FeatureMeter:
    """Measures how far networks are from the original in the features before its heads.

    Args:
        original: the network with all blocks.
        groups: its groups.
        fitting: samples that neighbours of blocks are fitted to.
        inputs: batches that are measured.
        features: what the original makes of them, by the name of the value.
    """

    original: Network
    groups: Groups
    fitting: Dataset
    inputs: tuple[Arrays, ...]
    features: tuple[Arrays, ...]

    @classmethod
    def of(cls, network: Network, groups: Groups, data: Dataset) -> FeatureMeter:
        """Return the meter of a network, as `data` shows it.

        Raises:
            DataError: the data does not fit the network, or there is none.
        """
        fitting, measuring = split(Calibration(data), network)
        assert fitting is not None, "there is data"
        assert measuring is not None, "there is data"
        names = list(places_of(network).features) or list(network.outputs)
        session = Session(network, fetch=names)
        inputs: list[Arrays] = []
        features: list[Arrays] = []
        held = 0
        for batch in streamed(measuring, "features"):
            found = session.run(batch.inputs)
            size = sum(array.nbytes for array in found.values())
            if inputs and held + size > FEATURE_BYTES:
                break
            held += size
            inputs.append(batch.inputs)
            features.append(found)
        if not inputs:
            raise DataError(f"{data.name}: there is no sample to measure blocks on")
        return cls(
            original=network, groups=groups, fitting=Calibration(fitting, FITTED),
            inputs=tuple(inputs), features=tuple(features),
        )  # fmt: skip

    def adapted(self, state: Dropped) -> Network:
        """Return a network without blocks, with the layers beside them fitted."""
        start = PruningState.start(self.original, self.groups, self.fitting)
        start = replace(start, stands_for=state.stands_for)
        return refit_beside(start, state.network)

    def error(self, network: Network, names: Mapping[str, str]) -> float:
        """Return the error of the features, ‖difference‖² / ‖features‖², as a mean over them.

        Args:
            network: a network that computes them.
            names: value of the original → its name there, where it is another.
        """
        wanted = list(self.features[0])
        session = Session(network, fetch=[names.get(name, name) for name in wanted])
        off, whole = np.zeros(len(wanted)), np.zeros(len(wanted))
        for feeds, features in zip(self.inputs, self.features, strict=True):
            pairs = zip(network.inputs, feeds.values(), strict=True)
            found = session.run(dict(pairs))
            for k, name in enumerate(wanted):
                mine = features[name].astype(np.float64)
                theirs = found[names.get(name, name)]
                off[k] += float(np.square(mine - theirs).sum())
                whole[k] += float(np.square(mine).sum())
        return float(np.mean(off / np.where(whole > 0, whole, 1.0)))

    def of_blocks(self, blocks: Sequence[Block]) -> float:
        """Return the error without some blocks, with the layers beside them fitted."""
        if not blocks:
            return 0.0
        state = dropped(self.original, blocks)
        return self.error(self.adapted(state), state.becomes)

    def losses(
        self,
        blocks: Sequence[Block],
        gone: Sequence[Block],
        shares: Mapping[int, float],
        progress: Progress = silent,
    ) -> tuple[BlockLoss, ...]:
        """Return what it costs to drop each of some blocks after others, the cheapest first."""
        before = self.of_blocks(gone)
        left = [b for b in blocks if all(disjoint(b, other) for other in gone)]
        found = []
        for block in tracked(left, "measuring blocks", len(left), progress):
            error = self.of_blocks((*gone, block))
            saved = sum(shares[place] for place in (*block.layers, block.joint))
            found.append(BlockLoss(block=block, error=error, added=error - before, saved=saved))
        return tuple(sorted(found, key=lambda loss: loss.rank))
