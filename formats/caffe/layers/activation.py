"""ReLU, ReLU6, ELU, Sigmoid, TanH, AbsVal, BNLL, Swish, Clip, Threshold: element by element.

Source: relu_layer.cpp, elu_layer.cpp, bnll_layer.cpp, swish_layer.cpp, clip_layer.cpp,
threshold_layer.cpp (BVLC 9b89154). They store no blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Example, Layer, key, layer


@layer("ReLU")
@dataclass(frozen=True, kw_only=True, slots=True)
class ReLU(Layer):
    """max(x, 0) + negative_slope · min(x, 0)."""

    negative_slope: float = key(0.0)

    param: ClassVar = "relu_param"
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Relu or LeakyRelu."""
        if self.negative_slope == 0:
            return b.op("Relu", x)
        return b.op("LeakyRelu", x, alpha=self.negative_slope)


@layer("ReLU6")
@dataclass(frozen=True, kw_only=True, slots=True)
class ReLU6(Layer):
    """min(max(x, 0), 6), of MobileNet forks."""

    param: ClassVar = "relu6_param"
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Clip."""
        return b.op("Clip", x, b.scalar(0), b.scalar(6))


@layer("ELU")
@dataclass(frozen=True, kw_only=True, slots=True)
class ELU(Layer):
    """x where positive, α(exp(x) − 1) elsewhere."""

    alpha: float = key(1.0)

    param: ClassVar = "elu_param"
    example: ClassVar = Example(text="elu_param { alpha: 0.5 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Elu."""
        return b.op("Elu", x, alpha=self.alpha)


@layer("Sigmoid")
@dataclass(frozen=True, kw_only=True, slots=True)
class Sigmoid(Layer):
    """1 / (1 + exp(−x))."""

    param: ClassVar = "sigmoid_param"
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Sigmoid."""
        return b.op("Sigmoid", x)


@layer("TanH")
@dataclass(frozen=True, kw_only=True, slots=True)
class TanH(Layer):
    """Hyperbolic tangent."""

    param: ClassVar = "tanh_param"
    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Tanh."""
        return b.op("Tanh", x)


@layer("AbsVal")
@dataclass(frozen=True, kw_only=True, slots=True)
class AbsVal(Layer):
    """|x|."""

    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Abs."""
        return b.op("Abs", x)


@layer("BNLL")
@dataclass(frozen=True, kw_only=True, slots=True)
class BNLL(Layer):
    """log(1 + exp(x)), in the form that does not overflow."""

    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit relu(x) + log(1 + exp(−|x|))."""
        small = b.op("Exp", b.op("Neg", b.op("Abs", x)))
        return b.op("Add", b.op("Relu", x), b.op("Log", b.op("Add", small, b.scalar(1))))


@layer("Swish")
@dataclass(frozen=True, kw_only=True, slots=True)
class Swish(Layer):
    """x · sigmoid(βx)."""

    beta: float = key(1.0)

    param: ClassVar = "swish_param"
    example: ClassVar = Example(text="swish_param { beta: 1.5 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the product with a Sigmoid."""
        scaled = x if self.beta == 1 else b.op("Mul", x, b.scalar(self.beta))
        return b.op("Mul", x, b.op("Sigmoid", scaled))


@layer("Mish")
@dataclass(frozen=True, kw_only=True, slots=True)
class Mish(Layer):
    """x · tanh(log(1 + exp(x))), of YOLOv4's conversions."""

    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit the product."""
        return b.op("Mul", x, b.op("Tanh", b.op("Softplus", x)))


@layer("HardSwish")
@dataclass(frozen=True, kw_only=True, slots=True)
class HardSwish(Layer):
    """x · min(max(x + 3, 0), 6) / 6, of MobileNetV3's conversions."""

    example: ClassVar = Example()

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit HardSwish."""
        return b.op("HardSwish", x)


@layer("Clip")
@dataclass(frozen=True, kw_only=True, slots=True)
class Clip(Layer):
    """min(max(x, lowest), highest)."""

    lowest: float = key(REQUIRED, "min")
    highest: float = key(REQUIRED, "max")

    param: ClassVar = "clip_param"
    example: ClassVar = Example(text="clip_param { min: 0 max: 1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Clip."""
        return b.op("Clip", x, b.scalar(self.lowest), b.scalar(self.highest))


@layer("Threshold")
@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold(Layer):
    """1 where x > threshold, 0 elsewhere."""

    threshold: float = key(0.0)

    param: ClassVar = "threshold_param"
    example: ClassVar = Example(text="threshold_param { threshold: 0.1 }")

    def to_ir(self, b: CaffeBuilder, x: ir.Value) -> ir.Value:
        """Emit Greater as numbers."""
        return b.op("Cast", b.op("Greater", x, b.scalar(self.threshold)), to=int(ir.DataType.FLOAT))
