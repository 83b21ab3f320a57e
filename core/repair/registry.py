"""The registry of repairs, and the choice of repairs by the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import PlanError
from ..ir.network import Network
from ..own import guarded, named, summary_of
from ..plan.state import PruningState
from ..progress import Progress
from ..registry import Registry

__all__ = [
    "AUTOMATIC", "REPAIRS", "Repair", "Repairs", "find_repairs", "named_repairs", "repair",
]  # fmt: skip

AUTOMATIC = ("absorb", "refit", "recalibrate", "bias")
"""The repairs of "auto" in their order: cheap and exact ones first, then ones that need them."""

UNLESS = {"bias": ("refit",)}
"""Repair → repairs after which "auto" leaves it out: a refit sets the same means."""

Repairs = str | bool | Sequence[str]
"""The user's choice: "auto" (or True), "none" (or False), or one or several names, in a sequence or
separated by commas."""

Apply = Callable[[PruningState, Network, Progress], Network]


@dataclass(frozen=True, slots=True)
class Repair:
    """A named way in which remaining weights compensate for removed channels, without training.

    Args:
        name: name for users.
        summary: one line for `--repair help`.
        source: its paper or code.
        apply: `apply(state, dense, progress)` returns the dense network with other weights, or the
            same object if there is nothing to repair.
        needs_data: whether it needs `state.data`.
        unless: names of repairs that make it superfluous: it is not tried after them.
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
    """Register a function as a repair; see :class:`Repair` for the arguments."""

    def register(function: Apply) -> Apply:
        REPAIRS.add(name, entry=Repair(name, summary, source, function, needs_data))
        return function

    return register


def named_repairs(given: Any) -> Repairs:
    """Return a choice of repairs by names: functions become repairs.

    Args:
        given: as :data:`Repairs`, where functions may stand for names. A function takes the
            :class:`PruningState` and the dense network, and returns the network repaired.

    Raises:
        PlanError: something is neither a name nor a function.
    """
    if isinstance(given, str | bool):
        return given
    if isinstance(given, Sequence):
        return tuple(named(REPAIRS, one, _own) for one in given)
    return named(REPAIRS, given, _own)


def _own(name: str, function: Callable[[PruningState, Network], Network]) -> Repair:
    def apply(state: PruningState, dense: Network, progress: Progress) -> Network:
        del progress
        with guarded("repair", name):
            found = function(state, dense)
        if not isinstance(found, Network):
            raise PlanError(
                f"the repair '{name}' must give a network, and gives {type(found).__name__}"
            )
        return found

    return Repair(name, summary_of(function), "given as a function", apply, needs_data=False)


def find_repairs(names: Repairs, *, data: bool) -> tuple[Repair, ...]:
    """Return the chosen repairs, in the order in which they are tried.

    Args:
        names: the user's choice, see :data:`Repairs`.
        data: whether there is data. Without data, "auto" leaves out repairs that need it.

    Raises:
        PlanError: a name is unknown or given twice, or a repair needs data and there is none.
    """
    names = named_repairs(names)
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
        found = REPAIRS.find(name, also=("auto", "none"))
        if wanted.count(name) > 1:
            raise PlanError(f"repair '{name}' is named twice")
        if found.needs_data and not data:
            raise PlanError(f"repair '{name}' needs data", hint="give images or an .npz")
    return tuple(REPAIRS[name] for name in wanted)
