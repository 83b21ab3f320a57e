"""Which layer of one network is which of another."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from ..ir.network import LayerInfo

__all__ = ["Pair", "pairs_of"]

Pair = tuple[int | None, int | None]
"""Positions of a layer in both networks; None where one of them has no such layer."""


def pairs_of(a: Sequence[LayerInfo], b: Sequence[LayerInfo]) -> list[Pair]:
    """Return the layers of both networks side by side, each once, in their order.

    Layers with the same names in the same order belong together. Otherwise those with the same name
    and type do, as far as the order allows; where layers only have numbers, those of the same type.
    What stands between such layers, equally many of the same types, is taken for renamed.

    Args:
        a: layers of one network.
        b: layers of the other one.
    """
    if [info.name for info in a] == [info.name for info in b]:
        return [(place, place) for place in range(len(a))]
    numbered = all(info.name.isdigit() for info in (*a, *b))
    keys = [
        [info.type if numbered else (info.name, info.type) for info in layers] for layers in (a, b)
    ]
    found: list[Pair] = []
    steps = SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes()
    for step, start, end, other, until in steps:
        if step == "equal" or _alike(a[start:end], b[other:until]):
            found += zip(range(start, end), range(other, until), strict=True)
        else:
            found += [(place, None) for place in range(start, end)]
            found += [(None, place) for place in range(other, until)]
    return found


def _alike(a: Sequence[LayerInfo], b: Sequence[LayerInfo]) -> bool:
    """Return whether layers have the same types in the same order."""
    return [info.type for info in a] == [info.type for info in b]
