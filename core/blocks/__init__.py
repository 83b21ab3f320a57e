"""Residual blocks: which may leave a network as a whole, and the network without them."""

from .drop import Dropped, Settled, disjoint, dropped, named_blocks
from .find import Block, find_blocks, layer_names

__all__ = [
    "Block",
    "Dropped",
    "Settled",
    "disjoint",
    "dropped",
    "find_blocks",
    "layer_names",
    "named_blocks",
]
