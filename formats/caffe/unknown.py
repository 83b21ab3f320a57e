"""Layer types that no class has: quantised ones, misspelt ones, and those of forks."""

from __future__ import annotations

import re

from ...core.errors import UnsupportedError, located
from .caffemodel import QUANTISED_HINT
from .layer import LAYERS, Layer, Unknown
from .upgrade import LayerText, current_type

__all__ = ["class_of"]

_QUANTISED = re.compile(
    r"(?:de|re|fake)?_?quanti[sz]|ristretto|fixed_?(?:neuron|point)|u?int[48](?!\d)",
    re.IGNORECASE,
)
"""Part of the types of layers that compute with integers or round to them: DeePhi's DNNDK
(FixedNeuron), Ristretto (ConvolutionRistretto), Intel's and NVIDIA's Caffe (Quantize…)."""

_QUANTISED_PARAM = re.compile(r"(?:de|re)?_?quanti[sz]\w*_param|fixed(?:_\w+)?_param")
"""Messages that give such scales and widths to a layer of a usual type (quantization_param)."""


def class_of(text: LayerText) -> type[Layer]:
    """Return the class that reads a layer; :class:`Unknown` for types of forks.

    Raises:
        UnsupportedError: the layer belongs to a quantised network, or its type is one that Caffe
            writes otherwise.
    """
    _refuse_quantised(text)
    cls = LAYERS.get(text.type)
    if cls is not None:
        return cls
    meant = current_type(text.type) or _same_letters(text.type)
    if meant is not None:
        with located(field="type"):
            raise UnsupportedError(
                f"unsupported layer type '{text.type[:80]}'",
                hint=f"did you mean {meant}? Caffe tells capitals from small letters"
                if meant.casefold() == text.type.casefold()
                else f"did you mean {meant}? '{text.type[:80]}' is its name in an old version",
            )
    return Unknown


def _same_letters(kind: str) -> str | None:
    """Return the known type that differs only in case and signs; None if there is none."""
    letters = kind.casefold().replace("_", "")
    return next((known for known in LAYERS if known.casefold() == letters), None)


def _refuse_quantised(text: LayerText) -> None:
    """Raise if a layer computes with integers.

    Raises:
        UnsupportedError: names the type or the message that says so.
    """
    if text.type not in LAYERS and _QUANTISED.search(text.type):
        raise UnsupportedError(
            f"layers of type '{text.type[:80]}' belong to a quantised network, which cannot be "
            "pruned",
            hint=QUANTISED_HINT,
        )
    for field in text.message.fields:
        if _QUANTISED_PARAM.fullmatch(field.name):
            with located(line=field.line, field=field.name):
                raise UnsupportedError(
                    "it belongs to a quantised network, which cannot be pruned", hint=QUANTISED_HINT
                )
