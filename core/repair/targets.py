"""The targets of a refitted layer: they include the operations behind its output.

Between a layer y = W x + b and the next layer there are usually a normalisation and an activation,
and in residual networks a sum. The refit fits the value *behind* these operations to the original:

* Operations that are affine in each channel (a batch normalisation, a learned scale): z = α y + β.
* A sum with another branch s, with s′ in the pruned network: the target becomes z + s − s′, so that
  the layer compensates for the errors of the branch (He, Zhang, Sun, Channel Pruning for
  Accelerating Very Deep Neural Networks, 2017, for residual blocks).
* ReLU or LeakyReLU f: for a negative value of the original, any negative value is nearly as good.
  With the present prediction p, the target is z if z > 0 (also if p < 0: ReLU has no slope there
  to follow), f(z) if z ≤ 0 < p, and p − f′² (p − z) if both are negative. For ReLU, a fit to these
  targets followed by a new prediction never raises the sum of (p − z)² over z > 0 and f(p)² over
  z ≤ 0: the targets majorise it. The objective is that of Zhang, Zou, He, Sun, Accelerating Very
  Deep Convolutional Networks for Classification and Detection, 2015, except for z > 0 > p.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..ir.assemble import NONE, Tensors
from ..ir.network import Network
from ..ir.weighted import affine_of, channel_axis
from ..statistics.operators import Array, Operator

__all__ = ["Path", "Target", "array_of", "follow"]

SMALLEST_FACTOR = 1e-6
"""A channel whose factor is at most this part of the largest is fitted to its own output, since the
value behind the factor does not matter."""


@dataclass(frozen=True, slots=True)
class Path:
    """The operations behind an output y: f(scale · y + offset + other).

    Args:
        scale, offset: one number for each channel.
        other: name of the value of the same shape that is added; None without a sum.
        slope: slope of f below zero: 0 for ReLU, 1 without an activation.
        end: name of the value that all of this makes.
    """

    scale: Array
    offset: Array
    other: str | None = None
    slope: float = 1.0
    end: str = ""


def follow(
    network: Network,
    operator: Operator,
    channels: int,
    tensors: Tensors = NONE,
    stops: Collection[str] = (),
) -> Path:
    """Return the operations behind an operator, up to a value with several or other consumers.

    Args:
        network: the network.
        operator: one of its operators.
        channels: number of its output channels.
        tensors: initializer → changed values of the same shape, instead of the network's.
        stops: names of values that end a path.
    """
    scale, offset, other = np.ones(channels), np.zeros(channels), None
    value = network.values()[operator.y]
    axis = channel_axis(operator.op_type, len(value.shape) if value.shape is not None else 0)
    while True:
        uses = list(value.uses())
        end = str(value.name)
        if len(uses) != 1 or value.is_graph_output() or end in stops:
            return Path(scale, offset, other, end=end)
        node = uses[0].node
        slope = _slope(node)
        if slope is not None:
            return Path(scale, offset, other, slope, end=str(node.outputs[0].name))
        affine = affine_of(node, value, axis, channels, tensors) if other is None else None
        summand = _summand(node, value) if other is None else None
        if affine is not None:
            scale, offset = affine[0] * scale, affine[0] * offset + affine[1]
        elif summand is not None:
            other = summand
        else:
            return Path(scale, offset, other, end=end)
        value = node.outputs[0]


LEAKY_SLOPE = 0.01
"""The default slope of ONNX's LeakyRelu."""


def _slope(node: ir.Node) -> float | None:
    """Return the slope below zero of an activation that is the identity above; None for others.

    An upper bound of the activation (ReLU6) is ignored.
    """
    if node.op_type == "Relu":
        return 0.0
    if node.op_type == "LeakyRelu":
        alpha = node.attributes.get("alpha")
        return alpha.as_float() if alpha is not None else LEAKY_SLOPE
    if node.op_type == "Clip" and len(node.inputs) > 1 and node.inputs[1] is not None:
        least = node.inputs[1].const_value
        return 0.0 if least is not None and float(least.numpy()) == 0.0 else None
    return None


def array_of(network: Network, name: str, tensors: Tensors) -> np.ndarray:
    """Return the array of an initializer: the changed one, or the network's."""
    found = tensors.get(name)
    return network.array(name) if found is None else found


def _summand(node: ir.Node, value: ir.Value) -> str | None:
    """Return the other operand of a sum of two computed values of the same shape; None for none."""
    if node.op_type != "Add":
        return None
    operand = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
    if operand is None or operand is value or operand.const_value is not None:
        return None
    return str(operand.name) if operand.shape == value.shape else None


@dataclass(frozen=True, slots=True)
class Target:
    """The targets of a layer's output at some positions. Arrays are [groups, positions, outputs].

    Args:
        wanted: the output that gives the value of the original behind the layer, without regard to
            an activation.
        kink: the output at the kink of the activation, in a shape that broadcasts.
        sign: +1 if the activation is the identity above the kink, −1 if below it.
        slope: slope of the activation on the other side of the kink; 1 without an activation.
    """

    wanted: Array
    kink: Array
    sign: Array
    slope: float

    @staticmethod
    def of(before: Path, now: Path, y: Array, other: Array | None, present: Array | None) -> Target:
        """Return the target.

        Args:
            before: path in the original, for the kept channels.
            now: path in the pruned network.
            y: output of the layer in the original.
            other: summand in the original; None without a sum, or if it is not computed yet.
            present: summand in the pruned network; None as for `other`.
        """
        groups, _, outputs = y.shape

        def laid(vector: Array) -> Array:
            return vector.reshape(groups, 1, outputs).astype(np.float32)

        plain = np.abs(now.scale) <= SMALLEST_FACTOR * np.abs(now.scale).max(initial=0)
        scale = laid(np.where(plain, 1.0, now.scale))
        factor = laid(np.where(plain, 1.0, before.scale))
        offset = laid(np.where(plain, 0.0, before.offset))
        own = laid(np.where(plain, 0.0, now.offset))
        wanted, floor = factor * y + offset - own, -own
        if other is not None and present is not None:
            matters = laid(np.where(plain, 0.0, 1.0))
            wanted = wanted + matters * (other - present)
            floor = floor - matters * present
        slope = now.slope if other is not None or now.other is None else 1.0
        return Target(wanted / scale, floor / scale, np.sign(scale), slope)

    def around(self, predicted: Array) -> Array:
        """Return the targets of a least squares fit, given the present prediction."""
        if self.slope == 1.0:
            return self.wanted
        negative = (self.wanted - self.kink) * self.sign <= 0
        as_negative = (predicted - self.kink) * self.sign <= 0
        bent = self.kink + self.slope * (self.wanted - self.kink)
        stay = predicted - self.slope**2 * (predicted - self.wanted)
        found: Array = np.where(negative, np.where(as_negative, stay, bent), self.wanted)
        return found
