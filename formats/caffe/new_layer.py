"""Layers that are written into a net: their text, in the version of the net.

Source: caffe.proto `LayerParameter`, `V1LayerParameter` (BVLC 9b89154).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["NewLayer", "free_name", "quoted"]

_OLD_TYPES = {
    "Data": "DATA", "HDF5Data": "HDF5_DATA", "SoftmaxWithLoss": "SOFTMAX_LOSS",
    "SigmoidCrossEntropyLoss": "SIGMOID_CROSS_ENTROPY_LOSS", "EuclideanLoss": "EUCLIDEAN_LOSS",
    "Accuracy": "ACCURACY",
}  # fmt: skip
"""Types of `layers { }` blocks, which are words of an enumeration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewLayer:
    """A layer that is to be written.

    Args:
        name: of the layer.
        type: in its current spelling.
        bottoms: what it reads.
        tops: what it makes.
        phase: the only phase that has it; "" for both.
        fields: further fields as text; empty ones are left out.
    """

    name: str
    type: str
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...]
    phase: str = ""
    fields: tuple[str, ...] = ()

    def text(self, *, old: bool) -> str:
        """Return the text.

        Args:
            old: whether the net has blocks `layers`, which cannot stand beside `layer`.
        """
        kind = _OLD_TYPES[self.type] if old else quoted(self.type)
        lines = [
            f"{'layers' if old else 'layer'} {{",
            f"  name: {quoted(self.name)}",
            f"  type: {kind}",
            *(f"  bottom: {quoted(blob)}" for blob in self.bottoms),
            *(f"  top: {quoted(blob)}" for blob in self.tops),
            *([f"  include {{ phase: {self.phase} }}"] if self.phase else []),
            *(f"  {field}" for field in self.fields if field),
            "}",
        ]
        return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a string of a prototxt."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def free_name(wanted: str, used: Collection[str]) -> str:
    """Return a name that no layer and no blob has yet."""
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted}_{number}"
    return name
