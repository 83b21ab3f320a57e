"""Noise for verifications, at the smallest input on which a network still computes everything.

Whether two networks compute the same does not depend on the size of the image, as long as every
window has all its rows and columns to read. A network whose layers have a size of their own (a
fully connected layer behind a map) keeps its size.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..data import Dataset, SyntheticDataset
from ..data.synthetic import affordable
from ..errors import FormatError
from ..ir.network import Network
from ..ir.resize import PLANES, resized, spatial_step

__all__ = ["NOISE_SAMPLES", "SMALL", "smallest", "with_noise"]

NOISE_SAMPLES = 8
"""Samples of noise that verifications run on where the user gave no data."""

SMALL = 64
"""Rows and columns. Inputs up to this size stay as they are."""


def with_noise(first: Network, second: Network) -> tuple[Network, Network, Dataset]:
    """Return two networks at the smallest input that suits both, and noise for it.

    Args:
        first: the reference.
        second: a network with the same inputs.
    """
    first, second = smallest(first, second)
    return first, second, SyntheticDataset(first, samples=affordable(first, NOISE_SAMPLES))


def smallest(*networks: Network) -> tuple[Network, ...]:
    """Return networks of the same inputs at the smallest size that suits all.

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
    fit, most = 0, (largest - 1) // step
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
    except FormatError:
        return None
