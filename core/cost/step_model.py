"""The steps of an engine, found from measured times: t = a + b · ⌈inputs/ICP⌉ · ⌈outputs/OCP⌉.

ICP and OCP, the channels that are computed together, are those of the engine: one pair for all
layers of a kind. `a` (what the layer costs whatever its channels) and `b` are each layer's own.
Blocks are tried as whole numbers; `a` and `b` follow by least squares on relative differences, so
that small layers count as much as large ones. Neither is negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

import numpy as np
import numpy.typing as npt

from .blocks import blocks_of
from .layer_times import Point

__all__ = ["BLOCKS", "CONVOLUTION", "DEPTHWISE", "FULL", "Layer", "StepModel", "fit_steps"]

CONVOLUTION, DEPTHWISE, FULL = "convolution", "depthwise", "fully connected"
"""Kinds of layers that engines compute in ways of their own."""

BLOCKS = (1, 2, 4, 8, 16, 32)
"""Blocks that are tried."""

ALIKE = 1.05
"""Blocks whose squared error is at most this many times the least fit as well: the smallest pair
is taken, since it promises no step that was not seen."""

EXACT = 1e-9
"""A mean squared error below which times fit exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer with its measured times.

    Args:
        kind: one of :data:`CONVOLUTION`, :data:`DEPTHWISE`, :data:`FULL`.
        groups: in which it convolves.
        points: its times.
    """

    kind: str
    groups: int
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepModel:
    """What was found.

    Args:
        blocks: kind of layer → ICP and OCP.
        layers: name of a layer → a, and b for one pair of channels: milliseconds.
        error: median of the relative difference between times and the model.
    """

    blocks: Mapping[str, tuple[int, int]]
    layers: Mapping[str, tuple[float, float]]
    error: float

    def whole_values(self) -> dict[str, tuple[int, int]]:
        """Return blocks with which every value between convolutions is of whole blocks.

        A value that one layer makes is read by another. An engine that computes outputs in blocks
        keeps values in blocks, and changes the layout around those that are not whole, or leaves
        its fast path. Layers that are timed alone do not show that: their inputs seemed free.
        """
        maps = [own for kind, own in self.blocks.items() if kind != FULL]
        largest = max((max(own) for own in maps), default=1)
        return {
            kind: (1, largest) if kind == DEPTHWISE else (largest, largest)
            for kind in self.blocks
            if kind != FULL
        }

    def text(self) -> str:
        """Return it in words."""
        parts = []
        for kind, (inputs, outputs) in self.blocks.items():
            sizes = [(inputs, "inputs"), (outputs, "channels" if kind == DEPTHWISE else "outputs")]
            found = " × ".join(f"{size} {what}" for size, what in sizes if size > 1)
            parts.append(f"{kind} layers {f'in blocks of {found}' if found else 'without blocks'}")
        return f"{', '.join(parts)}; typical error {100 * self.error:.1f} %"


def fit_steps(
    layers: Mapping[str, Layer], given: Mapping[str, tuple[int, int]] | None = None
) -> StepModel:
    """Return the steps that fit measured times best.

    Args:
        layers: name → layer with at least one point of a positive time.
        given: kind of layer → ICP and OCP where they are not to be found.
    """
    blocks: dict[str, tuple[int, int]] = {}
    found: dict[str, tuple[float, float]] = {}
    errors: list[float] = []
    for kind in dict.fromkeys(layer.kind for layer in layers.values()):
        own = {name: layer for name, layer in layers.items() if layer.kind == kind}
        known = (given or {}).get(kind)
        blocks[kind] = known if known is not None else _blocks(kind, list(own.values()))
        for name, layer in own.items():
            found[name], apart = _fitted(layer, blocks[kind])
            errors += np.abs(apart).tolist()
    return StepModel(blocks=blocks, layers=found, error=median(errors))


def _blocks(kind: str, layers: Sequence[Layer]) -> tuple[int, int]:
    """Return the smallest blocks that fit about as well as the best."""
    pairs = [(1, one) for one in BLOCKS] if kind == DEPTHWISE else list(product(BLOCKS, BLOCKS))
    errors = {}
    for pair in pairs:
        apart = np.concatenate([_fitted(layer, pair)[1] for layer in layers])
        errors[pair] = float(np.mean(apart**2))
    limit = max(ALIKE * min(errors.values()), EXACT)
    fitting = [pair for pair in pairs if errors[pair] <= limit]
    return min(fitting, key=lambda pair: (pair[0] * pair[1], pair))


def _fitted(
    layer: Layer, blocks: tuple[int, int]
) -> tuple[tuple[float, float], npt.NDArray[np.float64]]:
    """Return a and b of a layer, and the relative difference of each point [points]."""
    inputs, outputs, times = (
        np.array(column, np.float64) for column in zip(*layer.points, strict=True)
    )
    pairs = blocks_of(
        outputs.astype(np.int64), inputs.astype(np.int64), layer.groups, blocks,
        depthwise=layer.kind == DEPTHWISE,
    )  # fmt: skip
    weight = 1.0 / times
    rows = np.stack([weight, pairs * weight], axis=1)
    a, b = np.linalg.lstsq(rows, np.ones(len(times)), rcond=None)[0]
    if len(set(pairs.tolist())) == 1 or b <= 0.0:  # no point tells a slope, or it falls by chance
        a, b = (float(1.0 / weight.mean()), 0.0) if b <= 0.0 else (0.0, _slope(pairs * weight))
    elif a < 0.0:
        a, b = 0.0, _slope(pairs * weight)
    return (float(a), float(b)), (a + b * pairs) * weight - 1.0


def _slope(column: npt.NDArray[np.float64]) -> float:
    """Return the factor of a column that comes nearest to ones."""
    return float(column.sum() / (column @ column))
