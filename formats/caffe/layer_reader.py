"""Reading one layer of a prototxt into an instance of its class."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import FormatError, located
from ...core.ir.network import Caution
from .document import Message
from .fields import read_fields
from .layer import LAYERS, Layer, Unknown
from .layers.border import Border
from .unknown import class_of
from .upgrade import LayerText

__all__ = ["read_layer", "unused_types"]


def unused_types(opaque: Sequence[str], layers: Sequence[Layer]) -> list[Caution]:
    """Return a note for each type that the user named and no layer has."""
    known = {layer.type for layer in layers}
    return [
        Caution(f"--opaque {name}: no layer that is read has this type")
        for name in opaque
        if name not in known
    ]


def read_layer(
    text: LayerText, opaque: Sequence[str] = (), unknown: type[Layer] = Unknown
) -> Layer:
    """Return the layer with its fields from the document."""
    with located(line=text.line, item=text.item):
        named = text.type in opaque
        cls = LAYERS.get(text.type, Unknown) if named else class_of(text)
        cls = unknown if cls is Unknown else cls
        if named and not cls.border:
            cls = Border
        values = read_fields(cls, text.message, cls.param)
        if cls is Unknown:
            values["params"] = _own_params(text.message)
        found = cls(
            name=text.name,
            type=text.type,
            bottoms=tuple(bottom.text for bottom in text.bottoms),
            tops=tuple(top.text for top in text.tops),
            **values,
        )
        for what, names, (least, most) in (
            ("bottoms", found.bottoms, cls.bottom_range),
            ("tops", found.tops, cls.top_range),
        ):
            if len(names) < least or (most is not None and len(names) > most):
                limit = f"{least}" if least == most else f"{least} to {most or 'any number'}"
                raise FormatError(f"{len(names)} {what}, but this layer has {limit}")
        return found


def _own_params(message: Message) -> tuple[str, ...]:
    """Return the messages with a layer's own fields; every layer can have the others."""
    names = dict.fromkeys(f.name for f in message.fields if f.name.endswith("_param"))
    return tuple(name for name in names if name not in ("transform_param", "loss_param"))
