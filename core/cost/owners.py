"""Under which name the time of a node is counted."""

from __future__ import annotations

from ..ir.network import Network

__all__ = ["owner_of"]


def owner_of(network: Network, layer: int | None, key: str) -> str:
    """Return the name under which the time of a node is counted: that of its layer, or its own."""
    return network.layers[layer].name if layer is not None else key
