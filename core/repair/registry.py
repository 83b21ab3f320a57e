"""The registry of repairs, and which of them a user asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import PlanError
from ..ir.network import Network
from ..plan.state import PruningState
from ..progress import Progress
from ..registry import Registry

__all__ = ["AUTOMATIC", "REPAIRS", "Repair", "Repairs", "find_repairs", "repair"]

AUTOMATIC = ("absorb", "refit", "recalibrate", "bias")
"""What "auto" tries, in this order: cheap and exact first, then what builds on it."""

UNLESS = {"bias": ("refit",)}
"""What "auto" leaves out where another repair was kept: a refit sets the same means."""

Repairs = str | bool | Sequence[str]
"""How users name repairs: "auto" (or True), "none" (or False), or names, alone or in a sequence or
with commas between them."""

Apply = Callable[[PruningState, Network, Progress], Network]


@dataclass(frozen=True, slots=True)
class Repair:
    """A named way in which remaining weights make up for removed channels, without training.

    Args:
        name: what users call it.
        summary: one line for `--repair help`.
        source: the paper or code it comes from.
        apply: `apply(state, dense, progress)` returns the dense network with other weights, or
            the very network it was given where there is nothing to do.
        needs_data: whether it needs `state.data`.
        unless: names of repairs after which it is not tried: they leave nothing for it to do.
    """

    name: str
    summary: str
    source: str
    apply: Apply
    needs_data: bool = True
    unless: tuple[str, ...] = ()


REPAIRS: Registry[Repair] = Registry(
    "repair", package=__name__.rpartition(".")[0], group="secateur.repairs"
)
"""Every repair by its name."""


def repair(
    name: str, *, summary: str, source: str, needs_data: bool = True
) -> Callable[[Apply], Apply]:
    """Register a function as the repair of a name."""

    def register(function: Apply) -> Apply:
        REPAIRS.add(name, entry=Repair(name, summary, source, function, needs_data))
        return function

    return register


def find_repairs(names: Repairs, *, data: bool) -> tuple[Repair, ...]:
    """Return the repairs that a user asked for, in the order in which they are tried.

    Args:
        names: see :data:`Repairs`.
        data: whether there is data; "auto" leaves out what needs it.

    Raises:
        PlanError: a name is unknown or given twice, or a repair needs data where there is none.
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
        if name in ("auto", "none"):
            raise PlanError(f"repair '{name}' cannot be combined with others")
        found = REPAIRS.find(name)
        if wanted.count(name) > 1:
            raise PlanError(f"repair '{name}' is named twice")
        if found.needs_data and not data:
            raise PlanError(f"repair '{name}' needs data", hint="give images or an .npz")
    return tuple(REPAIRS[name] for name in wanted)
