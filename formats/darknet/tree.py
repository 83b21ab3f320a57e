"""Hierarchies of classes (WordTree). Source: tree.c read_tree, softmax_layer.c softmax_tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from ...core.errors import FormatError, located
from ...core.evaluation.metrics.tree import sibling_counts
from .numerals import read_int
from .section import SectionBuilder

__all__ = ["read_tree", "softmax_tree"]

MOST_BYTES = 1 << 24


def read_tree(name: str, folders: Sequence[Path], count: int) -> tuple[int, ...]:
    """Return the parent of every class; negative for a class without a parent.

    Each line of the file holds a label and the index of its parent. Consecutive classes with the
    same parent are siblings.

    Args:
        name: the file as the cfg names it.
        folders: folders in which it is looked for.
        count: the number of classes that it must have.

    Raises:
        FormatError: the file does not exist or has another number of classes, or a parent does not
            come before its child.
    """
    path = next((path for folder in folders if (path := folder / name).is_file()), None)
    if path is None:
        raise FormatError(f"tree={name[:80]}: no such file beside the cfg")
    with located(file=str(path)):
        if path.stat().st_size > MOST_BYTES:
            raise FormatError("too large for a tree of classes")
        lines = path.read_text(errors="replace").splitlines()
        parents = [
            read_int(words[1]) if len(words) > 1 else -1
            for line in lines
            if (words := line.split())
        ]
        if len(parents) != count:
            raise FormatError(f"a tree of {len(parents)} classes for {count} values")
        for number, parent in enumerate(parents):
            if parent >= number:
                raise FormatError(
                    f"class {number} has parent {parent}, which does not come before it"
                )
    return tuple(parents)


def softmax_tree(b: SectionBuilder, x: ir.Value, parents: Sequence[int], axis: int) -> ir.Value:
    """Emit one softmax for each group of siblings along `axis`."""
    groups = sibling_counts(parents)
    if len(groups) == 1:
        return b.op("Softmax", x, axis=axis)
    parts = b.ops("Split", x, b.constant(groups), count=len(groups), axis=axis)
    return b.op("Concat", *(b.op("Softmax", part, axis=axis) for part in parts), axis=axis)
