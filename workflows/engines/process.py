"""An engine in a process of its own: that it crashes or never ends costs a message."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

from ...core.engine.threads import cores
from ...core.errors import UnsupportedError

__all__ = ["LOADING", "RUNNING", "EngineProcess", "processors"]

LOADING = 180.0
"""Seconds in which an engine must have loaded a network, conversions included."""

RUNNING = 60.0
"""Seconds in which a request for times must be answered, beyond those that the runs should take."""


def processors(threads: int) -> tuple[int, ...]:
    """Return the processors that an engine is kept on: as many as it has threads.

    The last ones are taken: the first serve the system's interrupts on many machines. Where the
    system cannot keep a process on some processors, the result is empty.

    Args:
        threads: of a run.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    return tuple(allowed[-threads:]) if threads < len(allowed) else tuple(allowed)


class EngineProcess:
    """A process that runs one engine. Use it in a `with` statement: it ends there.

    Args:
        name: of the engine.
        threads: of a run; None for all cores of this process.

    Raises:
        UnsupportedError: it does not start. Every method raises it where the engine ends, does
            not answer in time, or refuses.
    """

    def __init__(self, name: str, threads: int | None = None):
        self.name = name
        self.threads = threads or cores()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        kept = ",".join(map(str, processors(self.threads)))
        start = f"from {__package__}.worker import main; main({name!r}, {kept!r})"
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            encoding="utf-8", env={**os.environ, "PYTHONPATH": paths}, process_group=0,
        )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None, "it is a pipe"
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        try:
            self.version = str(self._answer(LOADING))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the engine still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, and the converters that it started."""
        self._kill()
        for stream in (self._process.stdin, self._said):
            if stream is not None:
                with suppress(OSError):  # what could not be sent to a dead process
                    stream.close()

    def load(self, what: dict[str, Any]) -> int:
        """Load a network, as :mod:`.worker` describes it, and return its number."""
        return int(self._asked({"load": {**what, "threads": self.threads}}, LOADING))

    def time(self, order: Sequence[int]) -> list[float]:
        """Return the milliseconds of runs in an order, by the numbers of networks."""
        found = self._asked({"time": list(order)}, RUNNING * (1 + len(order)))
        return [float(one) for one in found]

    def outputs(self, number: int, path: str) -> None:
        """Write what a network computes to an .npz file."""
        self._asked({"outputs": number, "path": path}, 2 * RUNNING)

    def _asked(self, request: dict[str, Any], seconds: float) -> Any:
        assert self._process.stdin is not None, "it is a pipe"
        with suppress(BrokenPipeError):  # it has ended: the missing answer tells
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer(seconds)

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._answers.put(line)
        self._answers.put("")

    def _answer(self, seconds: float) -> Any:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._kill()
            raise UnsupportedError(
                f"engine '{self.name}' did not answer within {seconds:g} s, and was ended"
            ) from None
        if not line:
            self._answers.put("")  # whoever asks again hears the same
            raise UnsupportedError(f"engine '{self.name}' ended {self._ended()}")
        answer = json.loads(line)
        if "error" in answer:
            raise UnsupportedError(f"engine '{self.name}': {answer['error']}")
        return answer["found"]

    def _kill(self) -> None:
        """End the process with all that it started: they are a group of processes."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # all of it has ended already
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    def _ended(self) -> str:
        """Return how the process ended, with its last words."""
        code = self._process.wait()
        try:
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        except ValueError:
            how = f"with code {code}"
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - 4096))
        said = [line.strip() for line in self._said.read().decode(errors="replace").splitlines()]
        last = next((line for line in reversed(said) if line), "")
        return f"{how}: {last[:200]}" if last else how
