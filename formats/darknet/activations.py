"""Activations. Source: activations.h, activations.c activate_array, blas.c softplus.

Darknet reads an unknown name as relu and prints a message. So does :func:`activate`, with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from ...core.ir.network import Caution
from .section import SectionBuilder

__all__ = ["ACTIVATIONS", "ALEXEYAB_ONLY", "activate"]

Function = Callable[[SectionBuilder, ir.Value], ir.Value]


def activate(b: SectionBuilder, name: str, x: ir.Value) -> ir.Value:
    """Apply the activation called `name`.

    Activations that mix channels (normalize_channels…) sum over axis 1.
    """
    function = ACTIVATIONS.get(name)
    if function is None or (b.pjreddie and name in ALEXEYAB_ONLY):
        shown = name[:80]
        b.note(
            Caution(f"activation '{shown}' is unknown; Darknet takes it for relu, and so does this")
        )
        return b.op("Relu", x)
    return function(b, x)


def _linear(_b: SectionBuilder, x: ir.Value) -> ir.Value:
    return x


def _operator(op_type: str, **attributes: float) -> Function:
    return lambda b, x: b.op(op_type, x, **attributes)


def _clip(b: SectionBuilder, x: ir.Value, low: float, high: float) -> ir.Value:
    return b.op("Clip", x, b.scalar(low), b.scalar(high))


def _times(b: SectionBuilder, x: ir.Value, factor: float) -> ir.Value:
    return b.op("Mul", x, b.scalar(factor))


def _plus(b: SectionBuilder, x: ir.Value, term: float) -> ir.Value:
    return b.op("Add", x, b.scalar(term))


def _relu6(b: SectionBuilder, x: ir.Value) -> ir.Value:
    b.note("relu6 is min(max(x, 0), 6), as on Darknet's GPU; its CPU code gives 0")
    return _clip(b, x, 0.0, 6.0)


def _loggy(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """2 σ(x) − 1."""
    return _plus(b, _times(b, b.op("Sigmoid", x), 2.0), -1.0)


def _ramp(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """max(x, 0) + 0.1 x."""
    return b.op("Add", b.op("Relu", x), _times(b, x, 0.1))


def _plse(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """0.125 x + 0.5 within ±4, slope 0.01 outside."""
    inner = _clip(b, x, -4.0, 4.0)
    outer = _times(b, b.op("Sub", x, inner), 0.01)
    return b.op("Add", _plus(b, _times(b, inner, 0.125), 0.5), outer)


def _stair(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """⌊x/2⌋, and for odd ⌊x⌋ the fraction of x on top."""
    whole = b.op("Floor", x)
    half = b.op("Floor", _times(b, x, 0.5))
    odd = b.op("Sub", whole, _times(b, half, 2.0))
    return b.op("Add", half, b.op("Mul", odd, b.op("Sub", x, whole)))


def _hardtan(b: SectionBuilder, x: ir.Value) -> ir.Value:
    return _clip(b, x, -1.0, 1.0)


def _lhtan(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """X within [0, 1], slope 0.001 outside."""
    inner = _clip(b, x, 0.0, 1.0)
    return b.op("Add", inner, _times(b, b.op("Sub", x, inner), 0.001))


def _swish(b: SectionBuilder, x: ir.Value) -> ir.Value:
    return b.op("Mul", x, b.op("Sigmoid", x))


def _mish(b: SectionBuilder, x: ir.Value) -> ir.Value:
    return b.op("Mul", x, b.op("Tanh", b.op("Softplus", x)))


def _hard_mish(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """X above 0, x²/2 + x down to −2, then 0."""
    inner = _clip(b, x, -2.0, 0.0)
    curve = b.op("Mul", inner, _plus(b, _times(b, inner, 0.5), 1.0))
    return b.op("Add", b.op("Relu", x), curve)


def _gelu(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """0.5 x (1 + tanh(0.797885 x + 0.035677 x³)), with Darknet's digits."""
    square = b.op("Mul", x, x)
    inner = b.op("Mul", x, _plus(b, _times(b, square, 0.035677), 0.797885))
    return b.op("Mul", _times(b, x, 0.5), _plus(b, b.op("Tanh", inner), 1.0))


def _share(b: SectionBuilder, x: ir.Value) -> ir.Value:
    """Divide non-negative values by their sum over the channels and 1e-4."""
    total = b.op("ReduceSum", x, b.constant([1]), keepdims=1)
    return b.op("Div", x, _plus(b, total, 1e-4))


def _normalize_channels(b: SectionBuilder, x: ir.Value) -> ir.Value:
    return _share(b, b.op("Relu", x))


def _normalize_softmax(b: SectionBuilder, x: ir.Value) -> ir.Value:
    return _share(b, b.op("Exp", x))


def _normalize_softmax_maxval(b: SectionBuilder, x: ir.Value) -> ir.Value:
    highest = b.op("ReduceMax", x, b.constant([1]), keepdims=1)
    return _share(b, b.op("Exp", b.op("Sub", x, highest)))


ACTIVATIONS: Mapping[str, Function] = {
    "elu": _operator("Elu", alpha=1.0),
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": _hardtan,
    "leaky": _operator("LeakyRelu", alpha=0.1),
    "lhtan": _lhtan,
    "linear": _linear,
    "loggy": _loggy,
    "logistic": _operator("Sigmoid"),
    "mish": _mish,
    "normalize_channels": _normalize_channels,
    "normalize_channels_softmax": _normalize_softmax,
    "normalize_channels_softmax_maxval": _normalize_softmax_maxval,
    "plse": _plse,
    "ramp": _ramp,
    "relie": _operator("LeakyRelu", alpha=0.01),
    "relu": _operator("Relu"),
    "relu6": _relu6,
    "revleaky": _operator("LeakyRelu", alpha=0.1),
    "selu": _operator("Selu", alpha=1.6732, gamma=1.0507),
    "stair": _stair,
    "swish": _swish,
    "tanh": _operator("Tanh"),
}
"""Activations by their names in a cfg."""

ALEXEYAB_ONLY = frozenset(
    {
        "gelu", "hard_mish", "mish", "normalize_channels", "normalize_channels_softmax",
        "normalize_channels_softmax_maxval", "relu6", "revleaky", "swish",
    }
)  # fmt: skip
"""Names that pjreddie's Darknet does not know."""
