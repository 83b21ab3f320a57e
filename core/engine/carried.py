"""Work for other threads and processes, which takes along the devices that are in use here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import PlanError
from .choosing import ELSEWHERE, found
from .device import Device, Place
from .placement import PROCESSOR, Devices, here

__all__ = ["Answer", "CarriedCall", "value_of"]

T = TypeVar("T")

_CHOSEN: dict[Device, Devices] = {}
"""What this process chose for work from other processes: what works here, once for all calls."""

_CHOOSING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a call returned, and what another process had to tell of its devices."""

    value: T
    notes: tuple[str, ...] = ()


class CarriedCall(Generic[T]):
    """A function on some devices, wherever it is called.

    In this process these are the same devices, so that each of them gets its part of all work. In
    another process they are chosen anew, from those of its machine.

    Args:
        function: what is called.
        chosen: the devices.
        number: of the call: processes begin with different devices.
    """

    def __init__(self, function: Callable[..., T], chosen: Devices, number: int):
        self._function, self._number = function, number
        self._devices: Devices | None = chosen
        self._asked = _asked_for(chosen.places)

    def __call__(self, *arguments: Any) -> Answer[T]:
        """Return what the function does."""
        if self._devices is not None:
            with here(self._devices):
                return Answer(self._function(*arguments))
        chosen = _chosen(self._asked, self._number)
        with here(chosen):
            value = self._function(*arguments)
        return Answer(value, tuple(chosen.notes))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_devices": None}


def _asked_for(places: Sequence[Place]) -> Device:
    """Return how a user would ask for some devices of one provider."""
    if not places:
        return Device()
    numbers = [place.number for place in places if place.number is not None]
    return Device(places[0].name, tuple(sorted(numbers)))


def _chosen(asked: Device, number: int) -> Devices:
    """Return the devices for work from another process."""
    if asked.is_processor:
        return PROCESSOR
    with _CHOOSING:
        if asked not in _CHOSEN:
            _CHOSEN[asked] = _found(asked, number)
        return _CHOSEN[asked]


def _found(asked: Device, number: int) -> Devices:
    """Return the devices of this machine; their notes go back with the answers."""
    try:
        return found(asked, _unheard, number)
    except PlanError as error:  # only the machine that asks has such a provider
        there = Devices(tell=_unheard)
        there.note(f"{error}; {ELSEWHERE}")
        return there


def _unheard(note: str) -> None:
    """Tell nobody."""


def value_of(answer: Answer[T], chosen: Devices) -> T:
    """Return what a call came to; what its process had to tell is told where it was asked for."""
    for note in answer.notes:
        chosen.note(f"a worker says: {note}")
    return answer.value
