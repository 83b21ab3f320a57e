"""Schedules of masks on weights that do not change: what tests of them share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

import secateur
from secateur.core.coupling import Groups, find_groups
from secateur.core.finetune.schedules import SCHEDULES, Memory
from secateur.core.finetune.schedules.registry import Event
from secateur.core.finetune.sparsify import SparsifyOptions
from secateur.core.finetune.target import Target

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FILES = {
    "caffe": [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")],
    "darknet": [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")],
}


@cache
def network_of(format_: str) -> secateur.Network:
    """Return the trained network of a format."""
    return secateur.load(*FILES[format_])


@cache
def groups_of(format_: str) -> Groups:
    """Return its groups."""
    return find_groups(network_of(format_))


def target(
    format_: str = "caffe",
    rate: float = 0.5,
    before: np.ndarray | None = None,
    **settings: object,
) -> Target:
    """Return what is to be removed from the network of a format."""
    groups = groups_of(format_)
    options = SparsifyOptions(method="cubic", rate=rate, **settings)  # type: ignore[arg-type]
    gone = groups.mask(np.flatnonzero(before).tolist() if before is not None else ())
    return Target.of(network_of(format_), groups, gone, options)


def followed(schedule: str, wanted: Target, events: int) -> list[Memory]:
    """Return the memories of a training in which weights do not change."""
    scores = wanted.scores(wanted.network)
    memories = [SCHEDULES[schedule].begin(wanted, scores)]
    for number in range(1, events + 1):
        event = Event(number=number, count=events, scores=scores)
        memories.append(SCHEDULES[schedule].change(wanted, memories[-1], event))
    return memories
