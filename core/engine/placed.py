"""A model on several devices: a session on each, made when it is first needed there.

What a device refuses runs on the processor, and a note says so.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from .device import CPU_PROVIDER, Place
from .placement import Devices

__all__ = [
    "ERRORS", "FAILURES", "FATAL", "Make", "OnDevices", "made_on", "reason_of", "session_of",
]  # fmt: skip

FATAL = 4
"""The lowest severity that onnxruntime logs. Its errors are raised, so they need not be printed."""

ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,  # for exceptions of its C++ code that have no class of their own
)
"""What onnxruntime raises."""

FAILURES: tuple[type[Exception], ...] = (*ERRORS, ValueError)
"""What it raises where a device is not as it was told; ValueError is for options."""

BESIDE = (
    re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"^/\S+\.(cc|cpp|h):\d+ [^()]*\([^()]*\) (?=\S)"),
)
"""What stands before the reason in its messages: an error code, a place in its source."""

Make = Callable[[Sequence[Any]], onnxruntime.InferenceSession]
"""Makes a session for providers, as onnxruntime takes them."""

PROCESSOR = "cpu"
"""Label of the session on the processor, which stands in."""


class OnDevices:
    """Sessions of one model, one for each device that has work for it.

    Args:
        devices: where it runs.
        make: makes a session.
        name: of the network, for notes.

    Raises:
        ERRORS: neither the first device nor the processor takes the model.
    """

    def __init__(self, devices: Devices, make: Make, name: str):
        self._devices, self._make, self._name = devices, make, name
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._locks = {place.label: threading.Lock() for place in devices.places}
        self._making = threading.Lock()
        with devices.taken() as place:
            self._session(place)

    def run(self, names: Sequence[str], arrays: Mapping[str, np.ndarray]) -> Sequence[Any]:
        """Return values by name, computed on the device with the least work under way."""
        with self._devices.taken() as place:
            session = self._session(place)
            if session is self._sessions.get(PROCESSOR):
                return self._answer(session, names, arrays)
            with self._turn(place):
                try:
                    return self._answer(session, names, arrays)
                except FAILURES as error:
                    failure = reason_of(error)
            found = self._answer(self._on_processor(), names, arrays)
            self._sessions[place.label] = self._on_processor()
            self._tell(place, "failed there", failure)
            return found

    def _answer(
        self,
        session: onnxruntime.InferenceSession,
        names: Sequence[str],
        arrays: Mapping[str, np.ndarray],
    ) -> Sequence[Any]:
        found: Sequence[Any] = session.run(names, arrays)
        return found

    def _turn(self, place: Place) -> AbstractContextManager[Any]:
        """Return what is held during a run on a device."""
        return self._locks[place.label] if place.alone else nullcontext()

    def _session(self, place: Place) -> onnxruntime.InferenceSession:
        """Return the session for a device: on it, or on the processor where it takes none."""
        with self._making:
            known = self._sessions.get(place.label)
        if known is not None:
            return known
        with self._locks[place.label]:
            if place.label in self._sessions:
                return self._sessions[place.label]
            made = made_on(place, self._make)
            if isinstance(made, str):
                session = self._on_processor()
                self._tell(place, "was not accepted there", made)
            else:
                session = made
            self._sessions[place.label] = session
        return session

    def _on_processor(self) -> onnxruntime.InferenceSession:
        with self._making:
            if PROCESSOR not in self._sessions:
                self._sessions[PROCESSOR] = self._make([CPU_PROVIDER])
            return self._sessions[PROCESSOR]

    def _tell(self, place: Place, what: str, reason: str) -> None:
        self._devices.note(
            f"device {place.label}: network '{self._name}' {what} and runs on the processor: "
            f"{reason}"
        )


def made_on(place: Place, make: Make) -> onnxruntime.InferenceSession | str:
    """Return a session on a device, or why there is none."""
    try:
        session = make(place.asked())
    except FAILURES as error:
        return reason_of(error)
    # Where libraries of a provider are missing, onnxruntime logs that and goes on without it.
    if place.provider in session.get_providers():
        return session
    return f"ONNX Runtime goes on without {place.provider}"


def session_of(
    model: bytes, options: onnxruntime.SessionOptions, providers: Sequence[Any]
) -> onnxruntime.InferenceSession:
    """Return a session of a model for providers, as onnxruntime takes them.

    Its own fallback is off: it would only be printed, and on standard output.
    """
    return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)


def reason_of(error: Exception) -> str:
    """Return onnxruntime's message on one line, without its error codes."""
    text = " ".join(str(error).split())
    for beside in BESIDE:
        text = beside.sub("", text)
    return text or type(error).__name__
