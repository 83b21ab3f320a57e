"""Statistics of stored parameters, and how far those of two networks are apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.network import BlobRef, Network, blob_refs

__all__ = ["WeightChange", "WeightStatistics", "blobs_of", "statistics_of", "weight_change"]

PART = 1 << 20
"""Numbers that are looked at together, so that large arrays are not copied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightStatistics:
    """What the numbers of a stored parameter are like.

    Args:
        shape: its shape, as the graph holds it.
        mean: of the finite numbers; the next three likewise. All are 0 where there are none.
        deviation: standard deviation.
        least: smallest.
        largest: largest.
        zeros: share of zeros, 0…1.
        infinite: how many are NaN or infinite.
    """

    shape: tuple[int, ...]
    mean: float
    deviation: float
    least: float
    largest: float
    zeros: float
    infinite: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightChange:
    """A stored parameter of a layer in both networks.

    Args:
        name: what it is ("weight").
        before: in the first network; None where it has none.
        after: in the second network; likewise.
        changed: share of the numbers that differ, 0…1; None where shapes differ.
        absolute: largest difference; None likewise, infinite beside NaN or infinity.
        relative: ‖after − before‖ / ‖before‖; likewise.
    """

    name: str
    before: WeightStatistics | None
    after: WeightStatistics | None
    changed: float | None = None
    absolute: float | None = None
    relative: float | None = None

    @property
    def same(self) -> bool:
        """Whether both hold the same numbers."""
        return self.changed == 0


def blobs_of(network: Network) -> Mapping[int, Mapping[BlobRef, np.ndarray]]:
    """Return the stored parameters of each layer, by its position, in the order of the file."""
    found: dict[int, dict[BlobRef, np.ndarray]] = {}
    for name, value in network.graph.initializers.items():
        for ref in blob_refs(value) if value.const_value is not None else ():
            found.setdefault(ref.layer, {})[ref] = network.array(str(name))
    return {place: dict(sorted(own.items())) for place, own in found.items()}


def statistics_of(array: np.ndarray) -> WeightStatistics:
    """Return what the numbers of an array are like."""
    flat = array.reshape(-1)
    count = zeros = 0
    total, least, largest = 0.0, math.inf, -math.inf
    for part in _parts(flat):
        zeros += int((part == 0).sum())
        finite = part[np.isfinite(part)]
        count += finite.size
        total += float(finite.sum())
        least = min(least, float(finite.min(initial=math.inf)))
        largest = max(largest, float(finite.max(initial=-math.inf)))
    mean = total / count if count else 0.0
    squares = sum(
        float(np.square(part[np.isfinite(part)] - mean).sum()) for part in _parts(flat)
    )  # beside the mean: large numbers that hardly differ would cancel out
    variance = squares / count if count else 0.0
    return WeightStatistics(
        shape=tuple(array.shape), mean=mean, deviation=math.sqrt(variance),
        least=least if count else 0.0, largest=largest if count else 0.0,
        zeros=zeros / flat.size if flat.size else 0.0, infinite=int(flat.size - count),
    )  # fmt: skip


def weight_change(name: str, before: np.ndarray | None, after: np.ndarray | None) -> WeightChange:
    """Return how a stored parameter differs.

    Args:
        name: what it is.
        before: in the first network; None where it has none.
        after: in the second network; likewise.
    """
    own = [statistics_of(array) if array is not None else None for array in (before, after)]
    if before is None or after is None or before.shape != after.shape:
        return WeightChange(name=name, before=own[0], after=own[1])
    a, b = before.reshape(-1), after.reshape(-1)
    changed, largest, distance, norm = 0, 0.0, 0.0, 0.0
    for x, y in zip(_parts(a), _parts(b), strict=True):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        changed += int((~same).sum())
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0.0, np.abs(y - x))
        apart[np.isnan(apart)] = np.inf
        largest = max(largest, float(apart.max(initial=0.0)))
        distance += float(np.square(apart).sum())
        norm += float(np.square(x[np.isfinite(x)]).sum())
    relative = math.sqrt(distance / norm) if norm else (math.inf if distance else 0.0)
    return WeightChange(
        name=name, before=own[0], after=own[1], changed=changed / a.size if a.size else 0.0,
        absolute=largest, relative=relative,
    )  # fmt: skip


def _parts(flat: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the numbers of an array in double precision, so many at a time."""
    for start in range(0, flat.size, PART):
        yield flat[start : start + PART].astype(np.float64)
