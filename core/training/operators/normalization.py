"""Normalisations. Source: onnx.ai/onnx/operators; training as each framework does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..framework import functional, torch
from ..recipe import Statistics
from .registry import Call, Function, Mode, operator

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5
"""Added to the variance of a batch where the graph adds nothing to the stored one."""
LEAST = 1e-30
"""PyTorch refuses an epsilon of 0 in training."""


@operator("BatchNormalization")
def _batch_norm(call: Call) -> Function:
    epsilon = call.attribute("epsilon", 1e-5)
    mode, key = call.mode, call.key
    # An epsilon of 0 stands where the stored variance holds it already.
    default = Statistics(fraction=call.attribute("momentum", 0.9), epsilon=epsilon or EPSILON)

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        rule = mode.statistics.get(key, default) if mode.training else None
        if rule is None or rule.frozen:
            return functional.batch_norm(x, mean, variance, scale, bias, eps=epsilon)
        own = epsilon if rule.epsilon is None else rule.epsilon
        return _of_batch(mode, rule, own, x, scale, bias, mean, variance)

    return run


def _of_batch(
    mode: Mode, rule: Statistics, epsilon: float, x: Tensor, scale: Tensor, bias: Tensor,
    mean: Tensor, variance: Tensor,
) -> Tensor:  # fmt: skip
    """Normalise by the statistics of the batch, and take them into the stored ones."""
    # With a momentum of 1, PyTorch leaves the batch's own mean and its variance by n − 1 there.
    own_mean, own_variance = torch.zeros_like(mean), torch.zeros_like(variance)
    if mode.summed is not None:
        y, own_mean, own_variance = _of_all(mode.summed, max(epsilon, LEAST), x, scale, bias)
    elif x.numel() > x.shape[1]:
        y = functional.batch_norm(
            x,
            own_mean,
            own_variance,
            scale,
            bias,
            training=True,
            momentum=1.0,
            eps=max(epsilon, LEAST),
        )
    else:  # one value a channel is its own mean
        column = (-1, *[1] * (x.dim() - 2))
        y = (x - x) * scale.reshape(column) + bias.reshape(column)
        own_mean = x.detach().reshape(-1)
    with torch.no_grad():
        share: Any = 1 - rule.fraction
        if rule.factor:
            factor = mode.factors[rule.factor]
            factor.mul_(rule.fraction).add_(1)
            share = 1 / factor
        mean.lerp_(own_mean, share)
        if not rule.root:
            variance.lerp_(own_variance, share)
        else:
            stored = (variance.sqrt() - rule.root).square_().lerp_(own_variance, share)
            variance.copy_((stored.sqrt_() + rule.root).square_())
    return y


def _of_all(
    summed: Callable[[Tensor], Tensor], epsilon: float, x: Tensor, scale: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by the statistics of all processes.

    Returns:
        the values, the mean, and the variance by n − 1.
    """
    axes, column = (0, *range(2, x.dim())), (-1, *[1] * (x.dim() - 2))
    own = x.new_full((1,), x.numel() / x.shape[1])
    both = summed(torch.cat([x.sum(axes), own]))
    count = both[-1].detach()
    mean = both[:-1] / count
    centred = x - mean.reshape(column)
    variance = summed(centred.square().sum(axes)) / count
    factor = scale * (variance + epsilon).rsqrt()
    y = centred * factor.reshape(column) + bias.reshape(column)
    unbiased = variance.detach() * count / (count - 1).clamp(min=1)
    return y, mean.detach(), unbiased


@operator("InstanceNormalization")
def _instance_norm(call: Call) -> Function:
    epsilon = call.attribute("epsilon", 1e-5)
    return lambda x, scale, bias: functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


@operator("LayerNormalization")
def _layer_norm(call: Call) -> Function:
    epsilon, axis = call.attribute("epsilon", 1e-5), call.attribute("axis", -1)

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        shape = x.shape[axis % x.dim() :]
        if bias is not None:
            bias = bias.expand(shape)
        return functional.layer_norm(x, shape, scale.expand(shape), bias, epsilon)

    return run


@operator("GroupNormalization")
def _group_norm(call: Call) -> Function:
    epsilon, groups = call.attribute("epsilon", 1e-5), call.attribute("num_groups")
    by_group = call.opset < 21

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        if by_group:
            each = x.shape[1] // groups
            scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
        return functional.group_norm(x, groups, scale, bias, epsilon)

    return run


@operator("LRN")
def _lrn(call: Call) -> Function:
    size = call.attribute("size")
    alpha, beta = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75)
    bias = call.attribute("bias", 1.0)

    def run(x: Tensor) -> Tensor:
        squares = (x * x).reshape(x.shape[0], 1, x.shape[1], -1)
        padded = functional.pad(squares, (0, 0, (size - 1) // 2, size // 2))
        mean = functional.avg_pool2d(padded, (size, 1), stride=1).reshape(x.shape)
        return x * (bias + alpha * mean).pow(-beta)

    return run


@operator("MeanVarianceNormalization")
def _mvn(call: Call) -> Function:
    axes = call.attribute("axes", [0, 2, 3])

    def run(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)

    return run


@operator("LpNormalization")
def _lp_norm(call: Call) -> Function:
    axis, order = call.attribute("axis", -1), call.attribute("p", 2)
    return lambda x: functional.normalize(x, p=order, dim=axis, eps=0.0)
