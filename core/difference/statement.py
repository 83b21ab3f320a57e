"""What files state of each layer: its lines of text, or the attributes of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from ..foreign import is_text
from ..ir.network import Network, layer_of

__all__ = ["HEAD", "changed_lines", "statements"]

HEAD = -1
"""Stands for what a text says before its first layer."""


def statements(network: Network) -> Mapping[int, Sequence[str]]:
    """Return what files state, without comments and empty lines.

    Args:
        network: the network.

    Returns:
        position of a layer, or :data:`HEAD` → its lines.
    """
    starts = sorted({info.line for info in network.layers if info.line is not None})
    lines = _text(network)
    if not starts or lines is None:
        return _attributes(network)
    ends = dict(zip(starts, [*starts[1:], len(lines) + 1], strict=True))
    found = {HEAD: _plain(lines[: starts[0] - 1])}
    for place, info in enumerate(network.layers):
        if info.line is not None:
            found[place] = _plain(lines[info.line - 1 : ends[info.line] - 1])
    return found


def changed_lines(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines that only the one has, and those that only the other one has."""
    gone: list[str] = []
    new: list[str] = []
    steps = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for step, start, end, other, until in steps:
        if step != "equal":
            gone += a[start:end]
            new += b[other:until]
    return tuple(gone), tuple(new)


def _text(network: Network) -> Sequence[str] | None:
    """Return the lines of the text that describes a network; None where there is none."""
    for suffix, content in _contents(network):
        if suffix and is_text(content[:65536]):
            return content.decode("utf-8", errors="replace").splitlines()
    return None


def _contents(network: Network) -> Sequence[tuple[str, bytes]]:
    """Return the files that a network was read from; those that are gone by now are left out."""
    found = []
    for suffix, path in network.source.paths.items() if network.source is not None else ():
        try:
            with path.open("rb") as file:
                if is_text(file.read(65536)):
                    file.seek(0)
                    found.append((suffix, file.read()))
        except OSError:
            continue
    return found


def _plain(lines: Sequence[str]) -> Sequence[str]:
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith(("#", ";"))]


def _attributes(network: Network) -> Mapping[int, Sequence[str]]:
    """Return the attributes of the nodes of each layer as lines."""
    found: dict[int, list[str]] = {}
    for node in network.graph:
        place = layer_of(node)
        if place is None:
            continue
        own = [f"{name}: {value.value}" for name, value in sorted(node.attributes.items())]
        found.setdefault(place, []).extend(own)
    return found
