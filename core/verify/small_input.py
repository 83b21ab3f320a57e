"""Noise for verifications, at the smallest input on which a network still computes everything.

Whether two networks compute the same does not depend on the size of the image, as long as every
window has all its rows and columns to read. A network whose layers have a size of their own (a
fully connected layer behind a map) keeps its size.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..data import Dataset, SyntheticDataset
from ..data.base import fixed_batch
from ..data.synthetic import affordable
from ..ir.dims import smaller_batches
from ..ir.footprint import LARGEST_VALUE, largest_bytes, peak_bytes
from ..ir.network import Network
from ..ir.resize import PLANES, OwnSize, resized, spatial_step

__all__ = ["MEMORY", "NOISE_SAMPLES", "SMALL", "smallest", "with_noise", "within_memory"]

NOISE_SAMPLES = 8
"""Samples of noise that verifications run on where the user gave no data."""

MEMORY = 1 << 31
"""Bytes that a run on noise may take at the size that a file says."""

LEAST = 16
"""Rows and columns that an input keeps at least: more places to compare cost next to nothing."""

SMALL = 64
"""Rows and columns. Inputs up to this size stay as they are."""


def with_noise(
    first: Network, second: Network, samples: int = NOISE_SAMPLES
) -> tuple[Network, Network, Dataset]:
    """Return two networks at the smallest input that suits both, and noise for it.

    Args:
        first: the reference.
        second: a network with the same inputs.
        samples: of noise; fewer where each is much work.
    """
    first, second = smallest(*_fewer_samples(first, second))
    return first, second, SyntheticDataset(first, samples=affordable(first, samples))


def within_memory(*networks: Network) -> tuple[Network, ...]:
    """Return networks of the same inputs as they are, or smaller where noise would fill the memory.

    A size that a file claims is no reason to take that much memory: data alone is.
    """
    networks = _fewer_samples(*networks)
    if peak_bytes(networks[0]) * (fixed_batch(networks[0]) or 1) <= MEMORY:
        return networks
    return smallest(*networks, least=4 * SMALL)


def _fewer_samples(*networks: Network) -> tuple[Network, ...]:
    """Return networks with a smaller fixed batch where the values of theirs are very large."""
    own = fixed_batch(networks[0])
    if own is None or largest_bytes(networks[0]) <= LARGEST_VALUE:
        return networks
    inputs = {name: shape for name, shape in networks[0].inputs.items() if shape}
    for batches in smaller_batches({s[0] for s in inputs.values() if isinstance(s[0], int)}):
        shapes = {
            name: (batches[shape[0]], *shape[1:])
            for name, shape in inputs.items()
            if isinstance(shape[0], int)
        }
        try:
            return tuple(resized(network, shapes) for network in networks)
        except OwnSize:
            continue  # a layer has a number of samples of its own
    return networks


def smallest(*networks: Network, least: int = LEAST) -> tuple[Network, ...]:
    """Return networks of the same inputs at the smallest size from `least` on that suits all.

    The size is the network's own less a multiple of the product of its strides: every map then
    shrinks by whole rows, and rounded sizes stay rounded as they were. Networks that have a size of
    their own are returned as they are.
    """
    sides = _sides(networks[0])
    largest = max((max(pair) for pair in sides.values()), default=0)
    step = spatial_step(networks[0])
    if largest <= SMALL or step is None:
        return networks
    # How many steps can go: one is tried first, then what fits is found by halving.
    fit, most = 0, max(0, largest - least) // step
    tried = min(1, most)
    while fit < most:
        smaller = _without(networks[:1], sides, largest, tried * step, step)
        if smaller is not None:
            fit = tried
        else:
            most = tried - 1
        tried = (fit + most + 1) // 2
    found = _without(networks, sides, largest, fit * step, step) if fit else None
    return networks if found is None else found


def _sides(network: Network) -> dict[str, tuple[int, int]]:
    """Return rows and columns of each input that has both."""
    return {
        name: (shape[2], shape[3])
        for name, shape in network.inputs.items()
        if len(shape) == PLANES and isinstance(shape[2], int) and isinstance(shape[3], int)
    }


def _without(
    networks: tuple[Network, ...],
    sides: Mapping[str, tuple[int, int]],
    largest: int,
    less: int,
    step: int,
) -> tuple[Network, ...] | None:
    """Return networks whose largest inputs lose rows and columns; None where they cannot.

    Args:
        networks: networks of the same inputs.
        sides: rows and columns of each input.
        largest: the longest side of all inputs.
        less: by how much it shrinks; shorter sides shrink as long as they stay about as long.
        step: the sides lose multiples of this.
    """
    left = largest - less
    shapes = {
        name: (*networks[0].inputs[name][:2], *(n - max(0, n - left) // step * step for n in pair))
        for name, pair in sides.items()
        if max(pair) == largest
    }
    try:
        return tuple(resized(network, shapes) for network in networks)
    except OwnSize:
        return None
