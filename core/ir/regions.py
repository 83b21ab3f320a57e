"""Inputs that hold regions of images: which they are, and how large the images are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

__all__ = ["Regions", "region_inputs"]

COLUMNS = 5
"""Of a row: the number of its image in the batch, x0, y0, x1, y1."""

_MOVES = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Split", "Slice"})
"""Operators that hand regions on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Regions:
    """The images that regions lie in.

    Args:
        height: of an image, in the unit of the regions.
        width: likewise.
    """

    height: int
    width: int


def region_inputs(graph: ir.Graph) -> Mapping[str, Regions]:
    """Return the inputs [number, 5] (number of the image, x0, y0, x1, y1) that windows are laid by.

    The size of an image is that of the map which the windows are laid over, scaled back.
    """
    inputs = {id(value): str(value.name) for value in graph.inputs}
    found: dict[str, Regions] = {}
    for node in graph:
        if node.op_type != "MaxRoiPool" or node.domain != "":
            continue
        value, image = _origin(node.inputs[1]), _image(node)
        if value is None or id(value) not in inputs or value.shape is None or image is None:
            continue
        if list(value.shape)[1:2] == [COLUMNS]:
            found.setdefault(inputs[id(value)], image)
    return found


def _image(node: ir.Node) -> Regions | None:
    """Return the image of a node that lays windows over a map; None where sizes are not known."""
    given = node.attributes.get("spatial_scale")
    scale = given.as_float() if given is not None else 1.0
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    height, width = list(shape)[2:4] if shape is not None and len(shape) == 4 else (None, None)
    if not isinstance(height, int) or not isinstance(width, int) or scale <= 0:
        return None
    return Regions(height=max(1, round(height / scale)), width=max(1, round(width / scale)))


def _origin(value: ir.Value | None) -> ir.Value | None:
    """Return the value that operators only hand on."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in _MOVES:
            return value
        value = node.inputs[0]
    return None
