"""An ONNX Runtime that seems to have GPUs: the processor computes, what is asked for is noted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
ORDINARY = ("AzureExecutionProvider", CPU)
"""What the package for processors offers."""

NO_NODE = (
    "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the "
    "default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
)
"""What ONNX Runtime says where a provider does not come up, in a session without the processor."""

Asked = list[tuple[str, dict[str, str]]]


@dataclass
class Runtime:
    """What it offers, and what was asked of it.

    Args:
        offered: the providers that it lists.
        count: devices of each; a session for another number is refused as CUDA does it.
        silent: providers that it lists and goes on without, as where libraries are missing.
        refuses: models that no accelerator takes.
        breaks: models that fail there while they run.
        factor: what accelerators multiply results by.
        slow: seconds that a run on an accelerator takes longer.
        made: providers of all sessions, without those by which devices are tried.
        runs: device of every run; None on the processor.
        together: the most runs at once on an accelerator.
    """

    offered: tuple[str, ...] = (CUDA, CPU)
    count: int = 2
    silent: tuple[str, ...] = ()
    refuses: Callable[[bytes], bool] = lambda _: False
    breaks: Callable[[bytes], bool] = lambda _: False
    factor: float = 1.0
    slow: float = 0.0
    made: list[Asked] = field(default_factory=list)
    runs: list[str | None] = field(default_factory=list)
    together: int = 0
    under_way: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def devices(self) -> set[str | None]:
        """Return where sessions ran since the last call."""
        found = set(self.runs)
        self.runs.clear()
        return found


def installed(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Runtime:
    """Put such a runtime in the place of the one that is installed."""
    runtime = Runtime(**settings)
    real = onnxruntime.InferenceSession

    class Session:
        def __init__(self, model: Any, options: Any, providers: Sequence[Any], **more: Any):
            asked = [(one, {}) if isinstance(one, str) else one for one in providers]
            own = options or onnxruntime.SessionOptions()
            trial = _is_trial(own)
            self._name, told = asked[0]
            self._place: str | None = None
            self._model = model if isinstance(model, bytes) else b""
            if not trial:
                runtime.made.append([(name, dict(options)) for name, options in asked])
            if self._name != CPU:
                assert more == {"enable_fallback": 0}, "else it prints on standard output"
                number = int(told.get("device_id", 0))
                self._place = f"{self._name.removesuffix('ExecutionProvider').lower()}:{number}"
                if trial and self._name in runtime.silent:
                    raise RuntimeError(NO_NODE)
                if number >= runtime.count:
                    raise RuntimeError(f"CUDA failure 101: invalid device ordinal ; GPU={number} ;")
                if runtime.refuses(self._model) and not trial:
                    raise RuntimeError("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : no such kernel")
            own = onnxruntime.SessionOptions() if trial else own
            self._session = real(model, own, providers=[CPU])
            self._trial = trial

        def get_providers(self) -> list[str]:
            here = [] if self._name in runtime.silent else [self._name]
            return [*here, CPU]

        def run(self, names: Any, feeds: Any) -> Any:
            if self._trial or self._place is None:
                if not self._trial:
                    runtime.runs.append(None)
                found = self._session.run(names, feeds)
                return [one * np.float32(runtime.factor) for one in found] if self._trial else found
            if runtime.breaks(self._model):
                raise RuntimeError("CUDA failure 2: out of memory")
            with runtime.lock:
                runtime.runs.append(self._place)
                runtime.under_way += 1
                runtime.together = max(runtime.together, runtime.under_way)
            try:
                time.sleep(runtime.slow)
                return self._session.run(names, feeds)
            finally:
                with runtime.lock:
                    runtime.under_way -= 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(runtime.offered))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("not found"), raising=False)
    return runtime


def _is_trial(options: Any) -> bool:
    """Whether a session is made to try a device."""
    try:
        return bool(options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1")
    except RuntimeError:  # it is not set
        return False
