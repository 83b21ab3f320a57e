"""Resize. Source: onnx.ai/onnx/operators, Resize-18: each axis by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..framework import torch
from .registry import Call, Function, operator

if TYPE_CHECKING:
    from torch import Tensor

Taps = list[tuple[np.ndarray, np.ndarray]]
"""For each tap the position it reads and its weight, for every output position of an axis."""


def _sources(out: int, size: int, scale: float, form: str) -> np.ndarray:
    """Return where in the input each output position lies."""
    x = np.arange(out, dtype=np.float64)
    if form == "align_corners":
        return x * (size - 1) / (out - 1) if out > 1 else np.zeros(1)
    if form == "asymmetric":
        return x / scale
    if form == "pytorch_half_pixel" and out == 1:
        return np.zeros(1)
    if form == "half_pixel_symmetric":
        adjusted = out / (scale * size)
        return size / 2 * (1 - adjusted) + (x + 0.5) / scale - 0.5
    return (x + 0.5) / scale - 0.5


def _nearest(source: np.ndarray, size: int, form: str) -> Taps:
    shift = {"round_prefer_ceil": 0.5, "round_prefer_floor": -0.5}.get(form, 0.0)
    down = form in ("floor", "round_prefer_ceil")
    rounded = np.floor(source + shift) if down else np.ceil(source + shift)
    return [(np.clip(rounded, 0, size - 1).astype(np.int64), np.ones(len(source)))]


def _linear(source: np.ndarray, size: int) -> Taps:
    low = np.floor(source)
    part = source - low
    ends = [np.clip(low + k, 0, size - 1).astype(np.int64) for k in (0, 1)]
    return [(ends[0], 1 - part), (ends[1], part)]


def _cubic(source: np.ndarray, size: int, a: float) -> Taps:
    low = np.floor(source)
    part = source - low
    taps: Taps = []
    for k in range(-1, 3):
        d = np.abs(part - k)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        taps.append((np.clip(low + k, 0, size - 1).astype(np.int64), np.where(d <= 1, near, far)))
    return taps


@operator("Resize", "Upsample", side=(1, 2, 3))
def _resize(call: Call) -> Function:
    old = call.node.op_type == "Upsample"
    mode = call.attribute("mode", "nearest")
    place = 1 if old else 2
    known = call.constants[place] if call.given(place) else None
    sizes = call.integers(3)
    form = "asymmetric" if old else call.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else call.attribute("nearest_mode", "round_prefer_floor")
    a = call.attribute("cubic_coeff_a", -0.75)
    listed = call.attribute("axes")
    if call.attribute("antialias", 0) or form == "tf_crop_and_resize":
        raise call.refusal("antialias or a region to crop")
    if call.attribute("exclude_outside", 0):
        raise call.refusal("exclude_outside")

    def taps(out: int, size: int, scale: float) -> Taps:
        source = _sources(out, size, scale, form)
        if mode == "nearest":
            return _nearest(source, size, rounding)
        return _linear(source, size) if mode == "linear" else _cubic(source, size, a)

    def run(*inputs: Tensor) -> Tensor:
        x = inputs[0]
        axes = [axis % x.dim() for axis in listed] if listed else list(range(x.dim()))
        target = sizes(inputs)
        if target is not None:
            scales = [out / x.shape[axis] for out, axis in zip(target, axes, strict=True)]
        else:
            numbers = known if known is not None else inputs[place].cpu().numpy()
            scales = [float(scale) for scale in numbers.reshape(-1)]
            target = [math.floor(x.shape[k] * s) for k, s in zip(axes, scales, strict=True)]
        for axis, out, scale in zip(axes, target, scales, strict=True):
            if out != x.shape[axis] or scale != 1:
                x = _along(x, axis, taps(out, x.shape[axis], scale))
        return x

    return run


def _along(x: Tensor, axis: int, taps: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    """Return the weighted sum of an axis read at several positions."""
    times = max(len(taps[0][0]) // x.shape[axis], 1)
    if len(taps) == 1 and np.array_equal(taps[0][0], np.arange(times * x.shape[axis]) // times):
        return x.repeat_interleave(times, axis)  # whose derivative is a plain sum
    parts = []
    for where, weight in taps:
        read = x.index_select(axis, torch.from_numpy(where).to(x.device))
        if not (weight == 1).all():
            shape = [1] * x.dim()
            shape[axis] = -1
            factor = torch.from_numpy(weight.astype(np.float32)).to(x.device, x.dtype)
            read = read * factor.reshape(shape)
        parts.append(read)
    return sum(parts[1:], parts[0])
