"""Operators that compute each element by itself. Source: onnx.ai/onnx/operators."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..framework import functional, torch
from .registry import OPERATORS, Call, Function, Operator, operator

if TYPE_CHECKING:
    from torch import Tensor

_UNARY = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh",
    "Atan": "atan", "Atanh": "atanh", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf",
    "Exp": "exp", "Floor": "floor", "Log": "log", "Neg": "neg", "Reciprocal": "reciprocal",
    "Relu": "relu", "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin",
    "Sinh": "sinh", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip
_CUT_UNARY = {"IsInf": "isinf", "IsNaN": "isnan", "Not": "logical_not"}
_BINARY = {"Add": "add", "Mul": "mul", "Sub": "sub"}
_CUT_BINARY = {
    "And": "logical_and", "Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt",
    "LessOrEqual": "le", "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip


def _named(name: str) -> Any:
    return lambda _: getattr(torch, name)


for _names, _cut in (
    (_UNARY | _BINARY, frozenset[int]()),
    (_CUT_UNARY | _CUT_BINARY, frozenset({0})),
):
    for _operator, _function in _names.items():
        OPERATORS.add(_operator, entry=Operator(make=_named(_function), cut=_cut))


@operator("Identity")
def _identity(_: Call) -> Function:
    return lambda x: x


@operator("Div")
def _div(_: Call) -> Function:
    def run(a: Tensor, b: Tensor) -> Tensor:
        return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")

    return run


@operator("Pow")
def _pow(call: Call) -> Function:
    exponent = call.constants[1]
    if exponent is not None and exponent.size == 1:
        number = float(exponent.reshape(-1)[0])
        return lambda x, _: x.pow(int(number) if number.is_integer() else number)
    return torch.pow


@operator("Mod", cut=(0,))
def _mod(call: Call) -> Function:
    return torch.fmod if call.attribute("fmod", 0) else torch.remainder


@operator("Max")
def _max(call: Call) -> Function:
    if len(call.node.inputs) == 2 and call.constants[1] is not None:
        return torch.maximum

    # The gradient of equal numbers goes to the last of two, as eltwise_layer.cpp does it, and not
    # to both by halves.
    def run(first: Tensor, *others: Tensor) -> Tensor:
        if not others:
            return first
        top = torch.where((first > others[0]) | first.isnan(), first, others[0])
        for other in others[1:]:
            top = torch.where((other > top) | other.isnan(), other, top)
        return top

    return run


@operator("Min")
def _min(_: Call) -> Function:
    return lambda *inputs: functools.reduce(torch.minimum, inputs)


@operator("Sum")
def _sum(_: Call) -> Function:
    return lambda *inputs: functools.reduce(torch.add, inputs)


@operator("Mean")
def _mean(_: Call) -> Function:
    return lambda *inputs: functools.reduce(torch.add, inputs) / len(inputs)


@operator("Where", side=(0,))
def _where(_: Call) -> Function:
    return torch.where


@operator("Cast", "CastLike")
def _cast(call: Call) -> Function:
    kinds = {
        1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32,
        7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
    }  # fmt: skip
    if call.node.op_type == "CastLike":
        return lambda x, like: x.to(like.dtype)
    wanted = int(call.attribute("to"))
    if wanted not in kinds:
        raise call.refusal(f"type {wanted}")
    kind = kinds[wanted]
    return lambda x: x.to(kind)


@operator("Clip", side=(1, 2))
def _clip(call: Call) -> Function:
    bounds = [call.attribute("min"), call.attribute("max")]  # inputs since opset 11
    known = [call.constants[place] if call.given(place) else None for place in (1, 2)]
    if any(call.given(place) and known[place - 1] is None for place in (1, 2)):

        def run(x: Tensor, least: Tensor | None = None, most: Tensor | None = None) -> Tensor:
            return torch.clamp(x, least, most)

        return run
    low, high = (
        bound if array is None else float(array.reshape(-1)[0])
        for bound, array in zip(bounds, known, strict=True)
    )
    if low is None and high is None:
        return lambda x, *_: x
    return lambda x, *_: torch.clamp(x, low, high)


@operator("Elu")
def _elu(call: Call) -> Function:
    alpha = call.attribute("alpha", 1.0)
    return lambda x: functional.elu(x, alpha)


@operator("Celu")
def _celu(call: Call) -> Function:
    alpha = call.attribute("alpha", 1.0)
    return lambda x: functional.celu(x, alpha)


@operator("Selu")
def _selu(call: Call) -> Function:
    alpha = call.attribute("alpha", 1.67326319217681884765625)
    gamma = call.attribute("gamma", 1.05070102214813232421875)
    return lambda x: gamma * functional.elu(x, alpha)


@operator("LeakyRelu")
def _leaky(call: Call) -> Function:
    slope = call.attribute("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, slope)


@operator("ThresholdedRelu")
def _thresholded(call: Call) -> Function:
    alpha = call.attribute("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, 0.0)


@operator("PRelu")
def _prelu(_: Call) -> Function:
    def run(x: Tensor, slope: Tensor) -> Tensor:
        channels = x.shape[1] if x.dim() > 1 else 1
        if slope.numel() == 1 or (
            slope.numel() == channels and slope.dim() == x.dim() - 1 and slope.shape[0] == channels
        ):
            return functional.prelu(x, slope.reshape(-1))
        return torch.where(x > 0, x, slope * x)

    return run


@operator("HardSigmoid")
def _hard_sigmoid(call: Call) -> Function:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0, 1)


@operator("HardSwish")
def _hard_swish(_: Call) -> Function:
    return lambda x: functional.hardswish(x)


@operator("Softplus")
def _softplus(_: Call) -> Function:
    # PyTorch's own is x above a threshold of 20.
    return lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))


@operator("Softsign")
def _softsign(_: Call) -> Function:
    return lambda x: functional.softsign(x)


@operator("Mish")
def _mish(_: Call) -> Function:
    return lambda x: functional.mish(x)


@operator("Gelu")
def _gelu(call: Call) -> Function:
    form = call.attribute("approximate", "none")
    return lambda x: functional.gelu(x, approximate=form)


@operator("Shrink")
def _shrink(call: Call) -> Function:
    bias, limit = call.attribute("bias", 0.0), call.attribute("lambd", 0.5)

    def run(x: Tensor) -> Tensor:
        return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, 0.0))

    return run


@operator("Dropout", side=(1, 2), cut=(1,))
def _dropout(call: Call) -> Function:
    known = call.constants[1] if call.given(1) else None
    ratio = float(known.reshape(-1)[0]) if known is not None else call.attribute("ratio", 0.5)
    mode, key = call.mode, call.key
    pair = len(call.node.outputs) > 1

    def run(x: Tensor, *_: Any) -> Any:
        if not mode.training or ratio == 0:
            return (x, torch.ones_like(x, dtype=torch.bool)) if pair else x
        kept = mode.draw(key, x, ratio) if mode.draw is not None else _kept(x, ratio)
        y = x * kept * (1 / (1 - ratio))
        return (y, kept.bool()) if pair else y

    return run


def _kept(x: Tensor, ratio: float) -> Tensor:
    return torch.empty_like(x).bernoulli_(1 - ratio)


@operator("LogSoftmax", "Softmax")
def _softmax(call: Call) -> Function:
    function = torch.softmax if call.node.op_type == "Softmax" else torch.log_softmax
    if call.opset < 13:  # older ones flatten everything from the axis on
        axis = call.attribute("axis", 1)

        def flat(x: Tensor) -> Tensor:
            rows = math.prod(x.shape[:axis])
            return function(x.reshape(rows, -1), 1).reshape(x.shape)

        return flat
    axis = call.attribute("axis", -1)
    return lambda x: function(x, axis)


@operator("Hardmax", cut=(0,))
def _hardmax(call: Call) -> Function:
    axis = call.attribute("axis", -1)

    def run(x: Tensor) -> Tensor:
        return torch.zeros_like(x).scatter_(axis, x.argmax(axis, keepdim=True), 1.0)

    return run


@operator("Constant")
def _constant(call: Call) -> Function:
    tensor = call.attribute("value")
    array = np.array(tensor.numpy()) if tensor is not None else _listed(call)
    value = torch.from_numpy(array)
    return lambda: value


def _listed(call: Call) -> np.ndarray:
    for name, kind in (("value_int", np.int64), ("value_ints", np.int64),
                       ("value_float", np.float32), ("value_floats", np.float32)):  # fmt: skip
        found = call.attribute(name)
        if found is not None:
            return np.asarray(found, kind)
    raise call.refusal("text or sparse values")
