"""ONNX as a file format. Every network can be exported to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.ir.network import Network, Piece
from ..registry import FORMATS, Format, is_text

__all__ = ["ONNX"]


def _sniff(head: bytes) -> str | None:
    """Return the suffix of an ONNX file; None for others. Its first field is `ir_version` (1)."""
    return ".onnx" if head[:1] == b"\x08" and not is_text(head) else None


def _read(paths: Mapping[str, Path], **settings: Any) -> Network:
    from .reader import load

    return load(paths[".onnx"], **settings)


def _export(network: Network, name: str) -> Mapping[str, Sequence[Piece]]:
    from .writer import to_pieces

    return to_pieces(network, name)


def _same(network: Network, again: Network) -> bool:
    from ...core.verify.identity import same
    from .source import OnnxSource

    assert isinstance(again.source, OnnxSource)
    return same(network, again, again.source.release)


ONNX = FORMATS.add(
    "onnx",
    entry=Format(
        name="onnx",
        suffixes=(".onnx",),
        rank=20,
        sniff=_sniff,
        read=_read,
        export=_export,
        same=_same,
    ),
)
