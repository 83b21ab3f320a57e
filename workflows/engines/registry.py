"""The registry of engines, and what an engine declares.

An engine is loaded in a process of its own (:mod:`.worker`), so its module is imported only there;
a crash of it costs a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core.registry import Registry

__all__ = ["ENGINES", "Arrays", "Engine", "Job", "Run"]

Arrays = Mapping[str, npt.NDArray[np.float32]]
"""Values by their names; outputs of engines without names have the names "0", "1", …"""

Run = Callable[[], Arrays]
"""Computes the outputs of a network once, for the inputs that it was loaded with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A network that an engine is to run.

    Args:
        format: name of the format of its files.
        files: its files by suffix.
        inputs: every input by its name, as large as a run takes it.
        outputs: names of the outputs.
        threads: of one run.
        folder: an empty folder for files that the engine needs.
    """

    format: str
    files: Mapping[str, Path]
    inputs: Arrays
    outputs: tuple[str, ...]
    threads: int
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """An engine.

    Args:
        name: its name.
        summary: what it is, in one line.
        modules: module that must be installed → the package that brings it.
        reads: names of the formats that it takes, those that it takes best first. A network is
            given to it in its own format where that is among them.
        load: makes a network ready and returns what runs it once. It raises whatever the engine
            raises, or ValueError with a reason.
        version: returns its version.
    """

    name: str
    summary: str
    modules: Mapping[str, str]
    reads: tuple[str, ...]
    load: Callable[[Job], Run]
    version: Callable[[], str]

    def missing(self) -> tuple[str, ...]:
        """Return the packages that are not installed."""
        return tuple(
            package for module, package in self.modules.items() if find_spec(module) is None
        )


ENGINES: Registry[Engine] = Registry(
    "engine", package=__name__.rpartition(".")[0], group="secateur.engines"
)
"""Every engine by its name."""
