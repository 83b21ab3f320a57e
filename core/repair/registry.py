"""The table of repairs by name, and what a repair is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..coupling.groups import Groups
from ..data import Dataset
from ..errors import PlanError, nearest_hint
from ..ir.network import Network
from ..progress import Progress, silent

__all__ = ["AUTOMATIC", "REPAIRS", "Job", "Repair", "Repairs", "find_repairs", "repair"]

AUTOMATIC = ("absorb", "refit", "recalibrate", "bias")
"""What "auto" tries, in this order: cheap and exact first, then what builds on it."""

UNLESS = {"bias": ("refit",)}
"""What "auto" leaves out where another repair was kept: a refit sets the same means."""

Repairs = str | bool | Sequence[str]
"""How users name repairs: "auto" (or True), "none" (or False), or names, alone or in a sequence or
with commas between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a repair knows beside the network it repairs.

    Args:
        original: the network before pruning, whose outputs are aimed at.
        full: the network that the channels were taken out of, at full size: the original, or the
            original with weights that compensate already.
        groups: groups of the original.
        removed: mask over their units.
        data: inputs, without labels; None where the user gave none.
        progress: told how far the work is.
    """

    original: Network
    full: Network
    groups: Groups
    removed: npt.NDArray[np.bool_]
    data: Dataset | None = None
    progress: Progress = silent


Apply = Callable[[Job, Network], Network]


@dataclass(frozen=True, slots=True)
class Repair:
    """A named way to make up for what is gone.

    `apply(job, network)` returns the dense network with other weights, or the very `network` it was
    given where there is nothing to do. Only repairs with `needs_data` insist on data.
    """

    name: str
    summary: str
    source: str
    apply: Apply
    needs_data: bool = True
    unless: tuple[str, ...] = ()
    """Names of repairs after which it is not tried: they leave nothing for it to do."""


REPAIRS: dict[str, Repair] = {}


def repair(
    name: str, *, summary: str, source: str, needs_data: bool = True
) -> Callable[[Apply], Apply]:
    """Register a function as the repair of a name."""

    def register(function: Apply) -> Apply:
        if name in REPAIRS:
            raise RuntimeError(f"two repairs are called {name!r}")
        REPAIRS[name] = Repair(name, summary, source, function, needs_data)
        return function

    return register


def find_repairs(names: Repairs, *, data: bool) -> tuple[Repair, ...]:
    """Return the repairs that are asked for, in the order they are to be tried.

    Args:
        names: see :data:`Repairs`.
        data: whether there is data; "auto" leaves out what needs it.

    Raises:
        PlanError: a name is unknown, stands twice, or needs data where there is none.
    """
    if isinstance(names, bool):
        names = "auto" if names else "none"
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    if wanted == ["none"] or not wanted:
        return ()
    if wanted == ["auto"]:
        return tuple(
            replace(REPAIRS[name], unless=UNLESS.get(name, ()))
            for name in AUTOMATIC
            if data or not REPAIRS[name].needs_data
        )
    for name in wanted:
        if name not in REPAIRS:
            known = f"known are {', '.join(sorted(REPAIRS))}; auto and none stand alone"
            raise PlanError(f"unknown repair '{name}'", hint=nearest_hint(name, REPAIRS, known))
        if wanted.count(name) > 1:
            raise PlanError(f"repair '{name}' is named twice")
        if REPAIRS[name].needs_data and not data:
            raise PlanError(f"repair '{name}' needs data", hint="give images or an .npz")
    return tuple(REPAIRS[name] for name in wanted)
