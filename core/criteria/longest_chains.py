"""Longest chains in a graph of channels: extracted one after another, each edge once.

The nodes of the graph are the channels of values. Its edges stand in :class:`Hop`, one for each
operator: between every channel read and every channel made, or from channel to channel. Lengths are
logarithms, so the product of a chain is a sum. A chain whose product falls below 1 on the way
begins anew behind that place, as in the code of LEAN's authors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Chain", "Edge", "Hop", "LongestChains"]

ROUNDING = 1e-12
"""Chains whose logarithms differ by less are equally long; the one that ends first is taken."""

MATRIX = 2
"""Axes of lengths of edges between every channel read and every channel made."""

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(eq=False, slots=True)
class Hop:
    """The edges of one operator. Extracting a chain changes their lengths.

    Args:
        reads, makes: names of values.
        lengths: logarithm of the length of the edge to each channel made from each channel read,
            [made, read], or [made] where each channel comes from one; None where that is for free.
        places: for each value read, the place in it that every channel made comes from; −1 where
            it comes from none. Not used with [made, read].
    """

    reads: tuple[str, ...]
    makes: str
    lengths: Matrix | None
    places: tuple[Places, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge with a length.

    Args:
        hop: the number of its hop.
        made: the channel made.
        read: the channel read.
    """

    hop: int
    made: int
    read: int


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain, from its end to its beginning.

    Args:
        nodes: values with the channel in each.
        edges: the edges that were removed with it.
    """

    nodes: tuple[tuple[str, int], ...]
    edges: tuple[Edge, ...]


class LongestChains:
    """The longest chains of a graph, one after another.

    Only what changed with the last chain is computed again.

    Args:
        hops: the graph, in an order in which values are made before they are read. Their lengths
            change.
        sizes: value → its number of channels.
    """

    def __init__(self, hops: Sequence[Hop], sizes: Mapping[str, int]):
        self._hops = hops
        self._maker = {hop.makes: number for number, hop in enumerate(hops)}
        self._best = {name: np.zeros(sizes[name]) for hop in hops for name in hop.reads}
        self._best |= {hop.makes: np.zeros(sizes[hop.makes]) for hop in hops}
        self._came: list[Places] = [np.zeros(0, np.int64)] * len(hops)
        self._touched = set(range(len(hops)))

    def take(self) -> Chain | None:
        """Remove the edges of the longest chain; return it, or None if none is longer than 1."""
        self._compute()
        top, last = 0.0, -1
        for number, hop in enumerate(self._hops):
            own = float(self._best[hop.makes].max(initial=0.0))
            if own > top + ROUNDING:
                top, last = own, number
        if last < 0:
            return None
        chain = self._followed(last, int(self._best[self._hops[last].makes].argmax()))
        for edge in chain.edges:
            self._remove(edge)
        return chain

    def _compute(self) -> None:
        """Bring the longest chain to each channel, and where it comes from, up to date."""
        changed: set[str] = set()
        for number, hop in enumerate(self._hops):
            if number not in self._touched and changed.isdisjoint(hop.reads):
                continue
            found, source = _reached(hop, self._best)
            self._came[number] = np.where(found > 0.0, source, -1)
            found = np.maximum(found, 0.0)
            if not np.array_equal(found, self._best[hop.makes]):
                self._best[hop.makes] = found
                changed.add(hop.makes)
        self._touched = set()

    def _followed(self, number: int, place: int) -> Chain:
        """Return the chain that ends at a channel which a hop makes."""
        nodes, edges = [(self._hops[number].makes, place)], []
        while True:
            hop, source = self._hops[number], int(self._came[number][place])
            if source < 0:
                break
            if hop.lengths is not None and hop.lengths.ndim == MATRIX:
                name, before = hop.reads[0], source
            else:
                name, before = hop.reads[source], int(hop.places[source][place])
            if hop.lengths is not None:
                edges.append(Edge(number, place, before))
            nodes.append((name, before))
            if name not in self._maker:
                break
            number, place = self._maker[name], before
        return Chain(tuple(nodes), tuple(edges))

    def _remove(self, edge: Edge) -> None:
        lengths = self._hops[edge.hop].lengths
        assert lengths is not None, "an edge of a chain has a length"
        lengths[(edge.made, edge.read) if lengths.ndim == MATRIX else edge.made] = -np.inf
        self._touched.add(edge.hop)


def _reached(hop: Hop, best: Mapping[str, Matrix]) -> tuple[Matrix, Places]:
    """Return the longest chain to each channel made, and where it comes from: a place, or a
    value.
    """
    if hop.lengths is not None and hop.lengths.ndim == MATRIX:
        sums = best[hop.reads[0]] + hop.lengths
        source = sums.argmax(axis=1) if sums.shape[1] else np.zeros(len(sums), np.int64)
        return sums.max(axis=1, initial=-np.inf), source
    given = np.stack([
        np.where(place >= 0, best[name][place], -np.inf)
        for name, place in zip(hop.reads, hop.places, strict=True)
    ])  # fmt: skip
    found = given.max(axis=0)
    return found if hop.lengths is None else found + hop.lengths, given.argmax(axis=0)
