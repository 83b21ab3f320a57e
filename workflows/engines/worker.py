"""The process of one engine: it loads networks, and answers how long runs take.

Requests and answers are lines of JSON on its input and output. What engines print goes to its error
stream instead. A request is one of

* `{"load": {format, files, inputs, outputs, threads, folder}}`, where `inputs` is a file of
  :mod:`.arrays`: answered with the number of the network;
* `{"time": [number, …]}`: networks run in this order; answered with the milliseconds of each run;
* `{"outputs": number, "path": …}`: the outputs of a network are written to a file of
  :mod:`.arrays`; answered with their names.

An answer is `{"found": …}` or `{"error": text}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from .arrays import load_arrays, save_arrays
from .registry import ENGINES, Job, Run

__all__ = ["main"]

WAKING = 20.0
"""Milliseconds. Runs shorter than this are timed after one that is not: a core that waited for the
request is slow at first."""

LONGEST = 300
"""Characters of an error's text."""


def main(name: str, processors: str) -> None:
    """Serve requests for an engine until the input ends.

    Args:
        name: of the engine.
        processors: numbers of the processors to run on, with commas; "" for all.
    """
    answers = _own_output()
    if processors and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(one) for one in processors.split(",")})
    engine = ENGINES[name]
    _answer(answers, {"found": engine.version()})
    runs: list[Run] = []
    for line in sys.stdin:
        try:
            answer = {"found": _done(json.loads(line), runs, name)}
        except Exception as error:  # noqa: BLE001  # whatever an engine raises is its answer
            text = " ".join(f"{error}".split()) or type(error).__name__
            answer = {"error": text if len(text) <= LONGEST else f"{text[:LONGEST]}…"}
        _answer(answers, answer)


def _own_output() -> TextIO:
    """Return the output for answers; what else is printed goes to the error stream."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _answer(output: TextIO, content: dict[str, Any]) -> None:
    output.write(json.dumps(content) + "\n")
    output.flush()


def _done(request: dict[str, Any], runs: list[Run], name: str) -> Any:
    """Return what a request asks for."""
    if "load" in request:
        runs.append(_loaded(request["load"], name))
        return len(runs) - 1
    if "time" in request:
        return _timed([runs[number] for number in request["time"]])
    outputs = runs[request["outputs"]]()
    save_arrays(request["path"], outputs)
    return list(outputs)


def _loaded(what: dict[str, Any], name: str) -> Run:
    return ENGINES[name].load(
        Job(
            format=what["format"],
            files={suffix: Path(path) for suffix, path in what["files"].items()},
            inputs=load_arrays(what["inputs"]),
            outputs=tuple(what["outputs"]),
            threads=what["threads"],
            folder=Path(what["folder"]),
        )
    )


def _timed(runs: list[Run]) -> list[float]:
    """Return the milliseconds of runs, one after another."""
    began = time.perf_counter()
    runs[0]()
    first = (time.perf_counter() - began) * 1e3
    if first > WAKING and len(runs) == 1:
        return [first]
    found = [first] if first > WAKING else []
    for run in runs[len(found) :]:
        began = time.perf_counter()
        run()
        found.append((time.perf_counter() - began) * 1e3)
    return found
