"""What a target cannot take of a network."""

from __future__ import annotations

from ..ir.network import Network
from .target import Target

__all__ = ["refused_layers"]


def refused_layers(network: Network, target: Target, file: str | None = None) -> tuple[str, ...]:
    """Return what a target cannot take, one line each with file and line.

    Args:
        network: the network as it was read.
        target: the target.
        file: name of the text file that describes the network.
    """
    format_name = network.source.format if network.source is not None else "onnx"
    found = []
    reader = target.readers.get(format_name)
    if target.readers and reader is None:
        known = ", ".join(target.readers)
        found.append(
            f"{_place(file, None)}target '{target.name}' reads {known}, not {format_name}: "
            "secateur convert writes ONNX"
        )
    refused = target.refuses.get(format_name, ())
    by = f" ({reader})" if reader else ""
    found += [
        f"{_place(file, layer.line)}'{layer.name}' ({layer.type}): target '{target.name}' "
        f"cannot take it{by}"
        for layer in network.layers
        if layer.type in refused
    ]
    return tuple(found)


def _place(file: str | None, line: int | None) -> str:
    place = ":".join(str(part) for part in (file, line) if part is not None)
    return f"{place}: " if place else ""
