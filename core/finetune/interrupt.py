"""Ctrl-C and SIGTERM while a network is trained: they are heard at the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["SIGNALS", "Interruption", "heard"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What is heard."""


class Interruption:
    """Whether a signal came, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def answer(self, text: str = "") -> None:
        """End the program as the signal would have ended it.

        Args:
            text: what a user must know.

        Raises:
            KeyboardInterrupt: for Ctrl-C, with the text.
            SystemExit: for SIGTERM, with the usual status 128 + 15.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt(text)
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def heard() -> Iterator[Interruption]:
    """Note signals instead of ending at once; a second one ends at once.

    Outside the main thread, where Python hears no signals, nothing changes.
    """
    found = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        found.signal = number
        signal.signal(number, before[number])

    for number in SIGNALS:
        before[number] = signal.signal(number, note)
    try:
        yield found
    finally:
        for heard_signal, handler in before.items():
            signal.signal(heard_signal, handler)
