"""Cutting the companions of a network: what a train_val has beside it loses the same channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..coupling.edit import mask, shrink
from ..coupling.groups import Groups
from ..coupling.sharing import BlobName, blob_names
from ..data.base import fixed_batch
from ..errors import VerificationError
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.plan import Plan
from ..plan.state import PruningState
from ..progress import Progress, silent
from ..verify.equivalence import verify_equal
from ..verify.identity import same
from ..verify.small_input import with_noise
from ..verify.stable_cuts import narrowed

__all__ = [
    "cut_companions",
    "forgotten",
    "masked_companions",
    "revalued_companions",
    "uncompensated",
    "verify_companions",
]

SAMPLES = 2
"""Samples of noise that a companion is verified on: the network itself is verified on more."""

MOST_ROWS = 16
"""Largest fixed batch of a companion that is run: a batch for training may take minutes."""


def cut_companions(
    state: PruningState, dense: Network, *, progress: Progress = silent
) -> tuple[Network, ...]:
    """Return the companions of the original without the removed channels.

    Parameters that the network stores as well get its values. Where a companion can be run at
    little cost, masked and dense are compared on noise.

    Args:
        state: the removal.
        dense: the network without the removed channels, with its final weights.
        progress: told how far the verification is.

    Raises:
        VerificationError: a dense companion does not equal the masked one.
    """
    found = []
    for companion, groups in _affected(state):
        if groups is None:
            found.append(_with_values(companion, companion, state.original, dense))
            continue
        small = shrink(companion, groups, state.removed)
        if _cheap_to_run(companion):
            verify_equal(
                f"masked = dense in {companion.name}",
                *with_noise(mask(companion, groups, state.removed), small, SAMPLES),
                narrow=narrowed(groups, state.removed),
                progress=progress,
            )
        found.append(_with_values(small, companion, state.original, dense))
    return tuple(found)


def masked_companions(state: PruningState, full: Network) -> tuple[Network, ...]:
    """Return the companions of the original at full size, with zeros for removed channels.

    Args:
        state: the removal.
        full: the network at full size, with its final weights.
    """
    return tuple(
        _with_values(
            mask(companion, groups, state.removed) if groups is not None else companion,
            companion,
            state.original,
            full,
        )
        for companion, groups in _affected(state)
    )


def revalued_companions(original: Network, now: Network) -> tuple[Network, ...]:
    """Return the companions of a network with the values that it has now.

    Args:
        original: the network before.
        now: the same with other values of its parameters, and of the same size.
    """
    return tuple(
        _with_values(companion, companion, original, now) for companion in original.companions
    )


def uncompensated(state: PruningState) -> tuple[str, ...]:
    """Return a note on the layers beside the network that lost channels, if any did."""
    own = set(_stored(state.original))
    surviving = state.groups.surviving(state.removed)
    cut: dict[str, str] = {}
    for companion, groups in _affected(state):
        for use in groups.uses if groups is not None else ():
            value = companion.graph.initializers[use.parameter]
            if own.isdisjoint(blob_names(companion, value)) and not all(
                surviving[labels].all() for labels in use.labels
            ):
                for name, _ in blob_names(companion, value):
                    cut.setdefault(name, companion.name)
    if not cut:
        return ()
    names = [f"'{name}' ({where})" for name, where in cut.items()]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"layers beside the network were cut with it: {shown}; what they lost is not made up for, "
        "but by fine-tuning",
    )


def forgotten(plan: Plan, network: Network) -> tuple[str, ...]:
    """Return a note where a plan was made with more companions than a network has."""
    names = plan.provenance.get("companions")
    if not isinstance(names, list) or len(names) <= len(network.companions):
        return ()
    return (
        f"the plan was made with {', '.join(map(str, names))}, of which not all are given: what "
        "only they demand is not kept, and they are not cut (--companion)",
    )


def verify_companions(
    claim: str, first: Sequence[Network], second: Sequence[Network], progress: Progress = silent
) -> None:
    """Run companions in pairs on noise, where that costs little; they must be equal.

    Args:
        claim: what is verified, for messages.
        first: the companions.
        second: the same companions, read again.
        progress: told how far the verification is.

    Raises:
        VerificationError: one is missing, has parameters of another size, or computes something
            else.
    """
    names = [[companion.name for companion in each] for each in (first, second)]
    if names[0] != names[1]:
        missing = ", ".join(sorted({*names[0]} ^ {*names[1]}))
        raise VerificationError(f"{claim} does not hold: {missing} is not among both")
    for one, other in zip(first, second, strict=True):
        if _cheap_to_run(one) and not same(one, other):
            inputs = with_noise(one, other, SAMPLES)
            verify_equal(f"{claim} in {one.name}", *inputs, progress=progress)


def _cheap_to_run(network: Network) -> bool:
    """Whether a companion can be run on a few samples: its batch is open, or small."""
    return (fixed_batch(network) or 1) <= MOST_ROWS


def _affected(state: PruningState) -> Iterator[tuple[Network, Groups | None]]:
    """Yield each companion of the original with its groups; None where no channel of it leaves."""
    surviving = state.groups.surviving(state.removed)
    pairs = zip(state.original.companions, state.groups.companions, strict=True)
    for companion, groups in pairs:
        labels = (array for use in groups.uses for array in use.labels)
        yield companion, None if all(surviving[array].all() for array in labels) else groups


def _with_values(companion: Network, before: Network, original: Network, now: Network) -> Network:
    """Return a companion with the values that the network has for parameters of both.

    Args:
        companion: the companion, cut or not.
        before: the companion before.
        original: the network before.
        now: the network with its final weights.
    """
    holders = _stored(original)
    tensors = {}
    for name, value in before.graph.initializers.items():
        holder = next((holders[n] for n in blob_names(before, value) if n in holders), None)
        if holder is None:
            continue
        old, new, own = original.array(holder), now.array(holder), companion.array(name)
        if new is not old and new.size == own.size and _same(before.array(name), old):
            tensors[name] = new.reshape(own.shape)
    return rebuild(companion, tensors=tensors) if tensors else companion


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two graphs hold a parameter in the same form: layers may rescale it on reading."""
    return one.size == other.size and np.array_equal(one.ravel(), other.ravel(), equal_nan=True)


def _stored(network: Network) -> dict[BlobName, str]:
    """Return stored parameter → the initializer that holds it."""
    return {
        blob: name
        for name, value in network.graph.initializers.items()
        for blob in blob_names(network, value)
    }
