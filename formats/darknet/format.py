"""Darknet as a file format: cfg and weights."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.ir.network import Network
from ..registry import FORMATS, Format, first_line, is_text

__all__ = ["DARKNET"]


def _sniff(head: bytes) -> str | None:
    """Tell cfg and weights by their first bytes.

    A cfg opens a section. Weights begin with three small int32 version numbers, then the number of
    images seen.
    """
    if is_text(head):
        return ".cfg" if first_line(head)[:1] == b"[" else None
    versions = [int.from_bytes(head[k : k + 4], "little", signed=True) for k in (0, 4, 8)]
    small = all(0 <= version < 1 << 16 for version in versions)
    return ".weights" if len(head) >= 16 and small else None


def _read(paths: Mapping[str, Path], **settings: Any) -> Network:
    from .reader import load

    return load(paths[".cfg"], paths[".weights"], **settings)


def _register_datasets() -> None:
    importlib.import_module(".data.kinds", __package__)


DARKNET = FORMATS.add(
    "darknet",
    entry=Format(
        name="darknet",
        suffixes=(".cfg", ".weights"),
        rank=10,
        sniff=_sniff,
        missing={".cfg": "a .weights file", ".weights": "its .cfg"},
        read=_read,
        settings=("flavour", "partial", "reset_seen"),
        register_datasets=_register_datasets,
    ),
)
