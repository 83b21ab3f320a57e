"""Power, Exp, Log. Source: power_layer.cpp, exp_layer.cpp, log_layer.cpp (BVLC 9b89154)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import FormatError
from ..layer import CaffeBuilder, Example, Layer, key, layer


def affine(b: CaffeBuilder, x: ir.Value, scale: float, shift: float) -> ir.Value:
    """Emit scale · x + shift, without what does nothing."""
    if scale != 1:
        x = b.op("Mul", x, b.scalar(scale))
    return b.op("Add", x, b.scalar(shift)) if shift != 0 else x


def power(base: float, exponent: float) -> float:
    """Return base^exponent.

    Raises:
        FormatError: there is no such number, or none that is finite.
    """
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError) as error:
        raise FormatError(f"{base}^{exponent} is no finite number") from error


@layer("Power")
@dataclass(frozen=True, kw_only=True, slots=True)
class Power(Layer):
    """(shift + scale · x)^power."""

    power: float = key(1.0)
    scale: float = key(1.0)
    shift: float = key(0.0)

    param: ClassVar = "power_param"
    example: ClassVar = Example(text="power_param { power: 2 scale: 0.5 shift: 1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit what the fields leave of the formula."""
        if self.power == 0 or self.scale == 0:
            value = power(self.shift, self.power)  # 0^0 is 1
            return affine(b, x, 0, value)
        inner = affine(b, x, self.scale, self.shift)
        if self.power == 1:
            return inner
        if self.power == 2:
            return b.op("Mul", inner, inner)
        return b.op("Pow", inner, b.scalar(self.power))


@dataclass(frozen=True, kw_only=True, slots=True)
class _WithBase(Layer):
    base: float = key(-1.0, doc="-1 for e")
    scale: float = key(1.0)
    shift: float = key(0.0)

    def log_base(self) -> float:
        """Return the natural logarithm of the base."""
        if self.base != -1 and (self.base <= 0):
            raise FormatError(f"base must be positive or -1, got {self.base}")
        return 1.0 if self.base == -1 else math.log(self.base)


@layer("Exp")
@dataclass(frozen=True, kw_only=True, slots=True)
class Exp(_WithBase):
    """base^(shift + scale · x)."""

    param: ClassVar = "exp_param"
    example: ClassVar = Example(text="exp_param { base: 2 scale: 0.1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Exp with base and shift as factors."""
        log = self.log_base()
        y = b.op("Exp", affine(b, x, log * self.scale, 0))
        return affine(b, y, power(math.e, log * self.shift), 0)


@layer("Log")
@dataclass(frozen=True, kw_only=True, slots=True)
class Log(_WithBase):
    """Logarithm to the base of shift + scale · x."""

    param: ClassVar = "log_param"
    example: ClassVar = Example(
        bottoms=("positive",),
        text="log_param { base: 2 shift: 1 }",
        lead='layer { name: "positive" type: "AbsVal" bottom: "before" top: "positive" }',
    )

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Log, divided by that of the base."""
        log = self.log_base()
        if log == 0:
            raise FormatError("there is no logarithm to the base 1")
        return affine(b, b.op("Log", affine(b, x, self.scale, self.shift)), 1 / log, 0)
