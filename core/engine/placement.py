"""The devices that networks run on, from here to the end of a block.

Sessions ask :func:`devices` when they are made, so that no function hands a device on. What is
chosen holds for the thread that chose it. Work for other threads and processes takes it along
(:mod:`.carried`).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from ..brief import brief
from .device import Place

__all__ = ["PROCESSOR", "Devices", "Tell", "devices", "here", "on_processor"]

Tell = Callable[[str], None]
"""What is told notes."""


class Devices:
    """Devices in use: which sessions are made for, and how busy each is.

    Args:
        places: the devices; () for the processor.
        tell: told what users should know, each once; None for Python's warnings.
        first: the number of the place that is taken where all are equally busy.
    """

    def __init__(self, places: Sequence[Place] = (), tell: Tell | None = None, first: int = 0):
        self.places = (*places[first:], *places[:first])
        self.notes: list[str] = []
        self._tell = tell
        self._busy = {place.label: 0 for place in self.places}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(self, self.text)

    @property
    def text(self) -> str:
        """What they are called: cpu, or cuda:0 and cuda:1."""
        return " and ".join(place.label for place in self.places) or "cpu"

    @contextmanager
    def taken(self) -> Iterator[Place]:
        """Give the device with the least work under way, and count the block as work on it."""
        with self._lock:
            place = min(self.places, key=lambda one: self._busy[one.label])
            self._busy[place.label] += 1
        try:
            yield place
        finally:
            with self._lock:
                self._busy[place.label] -= 1

    def note(self, text: str) -> None:
        """Tell something, unless it was told before."""
        with self._lock:
            if text in self.notes:
                return
            self.notes.append(text)
        if self._tell is not None:
            self._tell(text)
        else:
            warnings.warn(text, stacklevel=3)


PROCESSOR = Devices()
"""The processor: what networks run on where nobody says otherwise."""

_IN_USE: ContextVar[Devices] = ContextVar("DEVICES", default=PROCESSOR)


def devices() -> Devices:
    """Return the devices in use."""
    return _IN_USE.get()


@contextmanager
def here(chosen: Devices) -> Iterator[None]:
    """Make sessions for some devices within a block, in the thread that enters it."""
    token = _IN_USE.set(chosen)
    try:
        yield
    finally:
        _IN_USE.reset(token)


@contextmanager
def on_processor() -> Iterator[None]:
    """Make sessions for the processor within a block, whatever device is in use around it."""
    with here(PROCESSOR):
        yield
