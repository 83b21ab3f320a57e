"""Dropping residual blocks, and pruning the channels of what is left.

Blocks leave before channels. Where a rate is given, too, channels then lose what blocks have left
of it. With "auto", blocks and channels compete: the cheapest block by its recoverability
(:mod:`..recovery`) leaves, unless channels that save as much, removed by the method that was asked
for, make a smaller error of the outputs on samples that are held back, each after the same refit.
The first time that channels are cheaper ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..blocks import Block, Dropped, disjoint, dropped, find_blocks, named_blocks
from ..coupling import find_groups
from ..data import Dataset
from ..data.calibration import Calibration
from ..data.hold_out import split
from ..errors import PlanError
from ..ir.network import Network
from ..ir.rename import renamed
from ..plan.blocks import plan_blocks
from ..plan.exclude import check_excluded
from ..plan.plan import PlanBlocks
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..recovery import BlockLoss, Choice, FeatureMeter, choose_blocks, shares_of
from ..repair import find_repairs, repaired
from ..repair.output_error import ErrorMeter
from ..repair.refit import refit
from ..repair.registry import Repair, Repairs
from ..repair.sequence import RepairRecord
from ..verify.equivalence import verify_equal
from ..verify.small_input import with_noise
from .choose import choose
from .companions import cut_companions
from .options import PruneOptions

__all__ = ["Chosen", "Stage", "chosen_blocks", "drop_blocks", "of_what_is_left"]

REACHED = 0.8
"""Part of what a block saves that channels must save to compete with it: whole channels rarely save
exactly as much."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The blocks that leave.

    Args:
        blocks: the blocks, in the order of the network.
        saved: the part of the network's cost that they save.
        losses: what each cost when it was chosen; empty for blocks that were named.
        notes: what the user should know.
    """

    blocks: tuple[Block, ...]
    saved: float
    losses: tuple[BlockLoss, ...] = ()
    notes: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return plain values, as a plan stores them."""
        measured = [
            {
                "block": loss.block.name,
                "feature_error": float(f"{loss.error:.4g}"),
                "saved": round(loss.saved, 6),
            }
            for loss in self.losses
        ]
        return {"saved": round(self.saved, 6), **({"chosen": measured} if measured else {})}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A network without blocks, repaired, as its files hold it.

    Args:
        network: the network.
        blocks: what left, as a plan holds it.
        layers: name of a layer of the original → its name in the network.
        repairs: the repairs that were tried.
    """

    network: Network
    blocks: PlanBlocks | None
    layers: Mapping[str, str]
    repairs: tuple[RepairRecord, ...] = ()


def chosen_blocks(
    network: Network,
    options: PruneOptions,
    *,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Chosen:
    """Return the blocks that options ask for.

    Args:
        network: the network.
        options: how many blocks, or which; with a rate, no more than it leaves.
        data: samples that blocks are measured on.
        progress: told how far the work is.

    Raises:
        PlanError: no block may leave, a name is no block, or blocks are to be chosen without data.
        DataError: the data does not fit.
    """
    check_excluded(network, options.exclude)
    groups = find_groups(network)
    shares = shares_of(network, groups, options.counted, options.latencies, options.target)
    if options.block_names:
        blocks = named_blocks(network, options.block_names)
        _refuse_kept(network, blocks, options)
        return Chosen(blocks=blocks, saved=_saved(blocks, shares))
    count = options.drop_blocks if isinstance(options.drop_blocks, int) else None
    known = _open_blocks(network, options)
    _check_count(network, known, count)
    if data is None:
        raise PlanError(
            "blocks are chosen by what they lose on data",
            hint="give data, or name blocks: " + ", ".join(block.name for block in known[:3]),
            option="drop_blocks",
        )
    meter = FeatureMeter.of(network, groups, data)
    contest = None if count is not None else _Contest(meter, options, data, shares, progress)
    choice = choose_blocks(
        meter, known, shares, count=count, rate=options.rate,
        cheaper=contest.won if contest is not None else None, progress=progress,
    )  # fmt: skip
    order = {block.name: place for place, block in enumerate(known)}
    return Chosen(
        blocks=tuple(sorted(choice.blocks, key=lambda block: order[block.name])),
        saved=choice.saved,
        losses=choice.losses,
        notes=_notes(choice, count),
    )


def _saved(blocks: Sequence[Block], shares: Mapping[int, float]) -> float:
    return sum(shares[place] for block in blocks for place in (*block.layers, block.joint))


def _notes(choice: Choice, count: int | None) -> tuple[str, ...]:
    """Return why fewer blocks left than the user may expect."""
    if count is not None and len(choice.losses) < count:
        return (f"{len(choice.losses)} of {count} blocks were dropped: {choice.ended}",)
    if count is None and not choice.losses:
        return (f"no block was dropped: {choice.ended}",)
    return ()


def _kept_layers(network: Network, block: Block, options: PruneOptions) -> list[str]:
    """Return the layers of a block that are to keep all their channels."""
    names = [network.layers[place].name for place in (*block.layers, block.joint)]
    return [name for name in names if name in options.exclude or name in options.overrides]


def _refuse_kept(network: Network, blocks: Sequence[Block], options: PruneOptions) -> None:
    for block in blocks:
        if kept := _kept_layers(network, block, options):
            raise PlanError(
                f"block '{block.name}' cannot leave: '{kept[0]}' of it is to stay",
                hint="drop another, or exclude no layer of it",
                option="drop_blocks",
            )


def _open_blocks(network: Network, options: PruneOptions) -> tuple[Block, ...]:
    return tuple(
        block for block in find_blocks(network) if not _kept_layers(network, block, options)
    )


def _check_count(network: Network, known: Sequence[Block], count: int | None) -> None:
    """Raise if no block may leave, or fewer than are asked for.

    Raises:
        PlanError: that is so.
    """
    if not known:
        raise PlanError(
            "this network has no residual block that may leave",
            hint="a block is a branch that is added to what it reads, and that nothing else reads",
            option="drop_blocks",
        )
    apart: list[Block] = []
    for block in sorted(known, key=lambda one: len(one.nodes)):
        if all(disjoint(block, other) for other in apart):
            apart.append(block)
    if count is not None and count > len(apart):
        numbered = str(count) in {info.name for info in network.layers}
        raise PlanError(
            f"{count} blocks cannot be dropped: {len(apart)} may leave",
            hint=f"'{count},' names layer {count}" if numbered else "secateur inspect lists them",
            option="drop_blocks",
        )


@dataclass(frozen=True)
class _Contest:
    """Asks of each block whether channels would save as much at less error."""

    meter: FeatureMeter
    options: PruneOptions
    data: Dataset
    shares: Mapping[int, float]
    progress: Progress

    def won(self, gone: tuple[Block, ...], block: BlockLoss) -> bool:
        """Whether channels lose less than a block, after some blocks have left."""
        meter, network = self.meter, self.meter.original
        fitting, measuring = split(Calibration(self.data), network)
        assert fitting is not None, "there is data"
        assert measuring is not None, "there is data"
        start = PruningState.start(network, meter.groups, fitting)
        state = dropped(network, (*gone, block.block))
        without = refit(replace(start, stands_for=state.stands_for), state.network, self.progress)
        channels = self._channels(gone, block.saved, fitting)
        if channels is None:
            return False
        measured = ErrorMeter(network, measuring)
        errors = [measured.error(found, progress=self.progress) for found in (without, channels)]
        return errors[1] < errors[0]

    def _channels(self, gone: tuple[Block, ...], saved: float, data: Dataset) -> Network | None:
        """Return the network without channels that save as much; None where they cannot."""
        state = dropped(self.meter.original, gone)
        if gone:
            state = replace(state, network=self.meter.adapted(state))
        settled = state.settled()
        network = settled.with_weights(state)
        left = 1.0 - _saved(gone, self.shares)
        stage = Stage(network=network, blocks=None, layers=settled.layers)
        rate = saved / left
        far = replace(self.options, as_far_as_possible=True)
        options = of_what_is_left(self.meter.original, far, stage, rate)
        groups = find_groups(network)
        try:
            choice = choose(network, groups, options, data=data, progress=self.progress)
        except PlanError:  # no channel may leave at all
            return None
        achieved = choice.plan.provenance["rate"]["achieved"]
        if achieved < REACHED * rate:
            return None
        return refit(replace(choice.state, data=data), choice.state.dense(), self.progress)


def drop_blocks(
    network: Network,
    blocks: Sequence[Block],
    *,
    data: Dataset | None = None,
    repair: Repairs = "auto",
    progress: Progress = silent,
) -> Stage:
    """Return a network without blocks: repaired, verified, and as its files hold it.

    Args:
        network: the network that the blocks were found in.
        blocks: the blocks, of which none lies in another.
        data: samples for repair and verification.
        repair: how the others make up for the blocks.
        progress: told how far the work is.

    Raises:
        UnsupportedError: its files cannot say what is left of it.
        DataError: the data does not fit.
        VerificationError: what the files hold does not compute what is left of the graph.
    """
    state = dropped(network, blocks)
    settled = state.settled()
    calibration = Calibration(data) if data is not None else None
    repairs = find_repairs(repair, data=data is not None)
    start = PruningState.start(network, find_groups(network), calibration)
    repaired_by = _repaired(start, state, repairs, progress)
    found = settled.with_weights(replace(state, network=repaired_by[0]))
    same = renamed(repaired_by[0], settled.names)
    first, second, inputs = (
        with_noise(same, found) if calibration is None else (same, found, calibration)
    )
    verify_equal("without blocks = read again", first, second, inputs, progress=progress)
    if settled.network.companions:
        before = PruningState.start(settled.network, find_groups(settled.network))
        found = replace(found, companions=cut_companions(before, found, progress=progress))
    return Stage(
        network=found,
        blocks=plan_blocks(network, blocks),
        layers=settled.layers,
        repairs=repaired_by[1],
    )


def _repaired(
    start: PruningState, state: Dropped, repairs: Sequence[Repair], progress: Progress
) -> tuple[Network, tuple[RepairRecord, ...]]:
    """Return the network repaired, and what was tried.

    With a refit there are two ways: the layers before the hole are fitted to the sum as well, or
    stay. That of the smaller error is kept.
    """
    ways: list[Mapping[str, str]] = [{}]
    if state.stands_for and any(one.name == "refit" for one in repairs):
        ways.append(state.stands_for)
    tried = [
        repaired(replace(start, stands_for=way), state.network, repairs, progress=progress)
        for way in ways
    ]
    return min(tried, key=lambda way: _last_error(way[1]))


def _last_error(records: Sequence[RepairRecord]) -> float:
    """Return the error after the last repair that was kept."""
    kept = [record.error_after for record in records if record.kept]
    return kept[-1] if kept else float("inf")


def of_what_is_left(
    network: Network, options: PruneOptions, stage: Stage, rate: float
) -> PruneOptions:
    """Return options for a network whose blocks have left, with its names of layers.

    Args:
        network: the original.
        options: as they were given for the original.
        stage: the network that is left.
        rate: the part of its cost that is to go.

    Raises:
        PlanError: a layer that is to lose channels left with a block.
    """
    there = {info.name for info in network.layers}
    for name in options.overrides:
        if name in there and name not in stage.layers:
            raise PlanError(
                f"'{name}' leaves with a block, so that no channel of it can",
                hint="give no rate for it, or drop another block",
            )
    latencies = options.latencies
    if latencies is not None:
        latencies = {stage.layers[n]: t for n, t in latencies.items() if n in stage.layers}
    return replace(
        options,
        rate=rate,
        drop_blocks=None,
        exclude=tuple(stage.layers[name] for name in options.exclude if name in stage.layers),
        overrides={stage.layers.get(name, name): own for name, own in options.overrides.items()},
        latencies=latencies,
    )
