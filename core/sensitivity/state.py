"""The points that are measured already, on disk, so that a killed analysis goes on where it was.

The file is a :class:`~..journal.Journal` with one point a line, under the digest of network, data
and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..journal import Journal

__all__ = ["STATE_FILE", "Known", "State"]

STATE_FILE = "state.jsonl"
"""Name of the state in the folder of an analysis."""


@dataclass(frozen=True, slots=True)
class Known:
    """A measured loss, or the least it can be."""

    loss: float
    at_least: bool


@dataclass(slots=True)
class State:
    """Measured points by group and number of removed channels; on disk where there is a file."""

    points: dict[tuple[str, int], Known] = field(default_factory=dict)
    _journal: Journal = field(default_factory=Journal)

    @classmethod
    def open(cls, path: Path | None, digest: str, *, restart: bool = False) -> State:
        """Read what is known, and get ready to add to it.

        Args:
            path: the file; None to keep points in memory only.
            digest: of network, data and settings.
            restart: forget what is there.

        Raises:
            DataError: the file belongs to another network, data or setting, is broken, or cannot be
                written.
        """
        points: dict[tuple[str, int], Known] = {}

        def take(entry: Mapping[str, Any]) -> None:
            known = Known(float(entry["loss"]), bool(entry.get("at_least")))
            points[str(entry["group"]), int(entry["removed"])] = known

        return cls(points, Journal.open(path, digest, take, restart=restart))

    def add(self, group: str, removed: int, known: Known) -> None:
        """Remember a point; it is on disk when this returns."""
        self.points[group, removed] = known
        entry: dict[str, Any] = {"group": group, "removed": removed, "loss": known.loss}
        if known.at_least:
            entry["at_least"] = True
        self._journal.add(entry)

    def __enter__(self) -> State:
        return self

    def __exit__(self, *found: object) -> None:
        self._journal.__exit__(*found)
