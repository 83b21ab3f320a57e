"""Times of layers: one number each, or several, at different numbers of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

__all__ = ["LayerTime", "LayerTimes", "Point", "plain_times", "times_of", "whole_time"]


class Point(NamedTuple):
    """How long a layer takes at numbers of channels.

    Args:
        inputs: that it reads. Of a fully connected layer: all values that it reads.
        outputs: that it makes.
        milliseconds: of one sample.
    """

    inputs: int
    outputs: int
    milliseconds: float


LayerTime: TypeAlias = float | tuple[Point, ...]
"""Milliseconds of a layer as it is, or points."""

LayerTimes: TypeAlias = Mapping[str, LayerTime]
"""Name of a layer → its time."""


def whole_time(time: LayerTime) -> float:
    """Return the milliseconds of a layer with all its channels: those of the largest point."""
    if not isinstance(time, tuple):
        return time
    return max(time, key=lambda point: (point.inputs * point.outputs, point.outputs)).milliseconds


def plain_times(times: LayerTimes) -> dict[str, float | list[list[float]]]:
    """Return times as plain values for YAML and JSON."""
    return {
        name: [list(point) for point in time] if isinstance(time, tuple) else float(time)
        for name, time in times.items()
    }


def times_of(plain: Mapping[str, float | Sequence[Sequence[float]]]) -> dict[str, LayerTime]:
    """Return the times that plain values stand for; what :func:`plain_times` made.

    Raises:
        ValueError, TypeError: it is nothing of the kind.
    """
    return {
        str(name): tuple(Point(int(i), int(o), float(ms)) for i, o, ms in time)
        if isinstance(time, Sequence)
        else float(time)
        for name, time in plain.items()
    }
