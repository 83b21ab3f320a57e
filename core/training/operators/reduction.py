"""Operators that take axes together. Source: onnx.ai/onnx/operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..framework import torch
from .registry import OPERATORS, Call, Function, Operator, operator

if TYPE_CHECKING:
    from torch import Tensor

Reduce = Callable[[Any, tuple[int, ...], bool], Any]


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


_REDUCTIONS: dict[str, Reduce] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}


def _maker(reduce: Reduce) -> Callable[[Call], Function]:
    def make(call: Call) -> Function:
        keep = bool(call.attribute("keepdims", 1))
        axes = call.integers(1, "axes")
        nothing = bool(call.attribute("noop_with_empty_axes", 0))

        def run(*inputs: Tensor) -> Tensor:
            x, found = inputs[0], axes(inputs)
            if not found:
                if nothing:
                    return x
                found = list(range(x.dim()))
            return reduce(x, tuple(found), keep)

        return run

    return make


for _name, _reduce in _REDUCTIONS.items():
    OPERATORS.add(_name, entry=Operator(make=_maker(_reduce), side=frozenset({1})))


@operator("ArgMax", "ArgMin", cut=(0,))
def _position(call: Call) -> Function:
    largest = call.node.op_type == "ArgMax"
    axis, keep = call.attribute("axis", 0), bool(call.attribute("keepdims", 1))
    last = bool(call.attribute("select_last_index", 0))

    def run(x: Tensor) -> Tensor:
        turned = x.flip(axis) if last else x
        best = turned.amax(axis, keepdim=True) if largest else turned.amin(axis, keepdim=True)
        # PyTorch does not promise the first of equal ones; the first 1 of a sum of hits is.
        first = ((turned == best).cumsum(axis).cumsum(axis) == 1).int().argmax(axis, keepdim=keep)
        return x.shape[axis] - 1 - first if last else first

    return run


@operator("TopK", cut=(1,), side=(1,))
def _top(call: Call) -> Function:
    axis, largest = call.attribute("axis", -1), bool(call.attribute("largest", 1))
    count = call.integers(1, "k")

    def run(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        (most,) = count(inputs) or [1]
        x = inputs[0]
        # Equal numbers stay in their order, as ONNX demands.
        values, where = torch.sort(x, dim=axis, descending=largest, stable=True)
        return values.narrow(axis, 0, most), where.narrow(axis, 0, most)

    return run


@operator("CumSum", side=(1,))
def _cumulative(call: Call) -> Function:
    axis = call.integers(1)
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        raise call.refusal("exclusive or reverse")
    return lambda *inputs: inputs[0].cumsum((axis(inputs) or [0])[0])
