"""How far long work is in all, from what its jobs tell one after the other.

Jobs come in phases, phases in others: "prune › choosing channels › pass 2 of 5 › inverses". What a
phase is worth stands in a table, measured on real prunes. "2 of 5" tells it by itself. Of other
jobs nobody knows how many will come: as many as in a phase of the same kind before, or a guess.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

__all__ = ["Course"]

PRUNING: Mapping[str, float] = {
    "choosing blocks": 6, "choosing channels": 12, "verifying": 1, "repairing": 6, "measuring": 3,
    "writing": 1,
}  # fmt: skip

SHARES: Mapping[str, Mapping[str, float]] = {
    "prune": {**PRUNING, "report": 2},
    "transform": {name: PRUNING[name] for name in ("verifying", "repairing", "measuring",
                                                   "writing")},
    "round": PRUNING,
    "run": {"ana": 6, "prune": 6, "finetune": 12, "transform": 2, "valid": 2, "report": 1},
}  # fmt: skip
"""The work, or a step in it → its phases in order, with the part of the time of each, about."""

ROUNDS = ("iterate",)
"""Work whose phases number themselves."""

NUMBERED = re.compile(r"(\d+) of (\d+)$")

GUESS = 6
"""Jobs of a phase of which nothing is known."""


class Course:
    """How far some work is.

    Args:
        work: its name in :data:`SHARES`; another one for work of unknown phases.
        without: phases of it that will not come.
    """

    def __init__(self, work: str, without: Collection[str] = ()):
        self._work = work
        self._without = frozenset(without)
        self._jobs: dict[tuple[str, ...], list[str]] = {}
        self._expected: dict[tuple[str, ...], int] = {}
        self._done: dict[tuple[str, ...], float] = {}
        self._reached = 0.0

    @property
    def known(self) -> bool:
        """Whether phases are known: else each job stands for itself."""
        return self._work in SHARES or self._work in ROUNDS

    def fraction(self, label: str, done: int, total: int) -> float:
        """Return how far all of the work is, 0…1; it never goes back.

        Args:
            label: the job, with the phases that it belongs to.
            done: steps of the job that are done.
            total: its steps; 0 where nobody knows.
        """
        import secateur

        path, _ = secateur.label_parts(label)
        share = min(1.0, done / total) if total else 0.0
        self._reached = max(self._reached, self._at((self._work,), path, share))
        return self._reached

    def _at(self, above: tuple[str, ...], path: list[str], share: float) -> float:
        """Return how far a phase is whose job `path` is done to a share."""
        if not path:
            return share
        start, width = self._place(above, path[0], share if len(path) == 1 else None)
        return start + width * self._at((*above, path[0]), path[1:], share)

    def _place(self, above: tuple[str, ...], name: str, share: float | None) -> tuple[float, float]:
        """Return where in a phase a part of it begins, and how much of it that is."""
        if numbered := NUMBERED.search(name):
            number, count = int(numbered[1]), int(numbered[2])
            return (number - 1) / count, 1 / count
        if above[-1] in ROUNDS:
            return 0.0, 0.0
        shares = SHARES.get(_kind(above)[-1].strip())
        if shares is not None:
            return self._by_shares(shares, name)
        return self._in_turn(above, name, share)

    def _by_shares(self, shares: Mapping[str, float], name: str) -> tuple[float, float]:
        """Return the place of a phase of the table; one that is not there takes no time."""
        if name not in shares or name in self._without:
            return 0.0, 0.0
        coming = {one: part for one, part in shares.items() if one not in self._without}
        names = list(coming)
        before = sum(coming[one] for one in names[: names.index(name)])
        whole = sum(coming.values())
        return before / whole, coming[name] / whole

    def _in_turn(
        self, above: tuple[str, ...], name: str, share: float | None
    ) -> tuple[float, float]:
        """Return the place of a job among those before it; one that begins anew is a new one."""
        if above not in self._jobs:
            kind = _kind(above)
            earlier = [len(jobs) for other, jobs in self._jobs.items() if _kind(other) == kind]
            self._expected[above] = max(earlier, default=GUESS)
        jobs = self._jobs.setdefault(above, [])
        again = share is not None and share < self._done.get(above, 0.0)
        if not jobs or jobs[-1] != name or again:
            jobs.append(name)
        self._done[above] = share or 0.0
        expected = max(self._expected[above], len(jobs))
        return (len(jobs) - 1) / expected, 1 / expected


def _kind(above: tuple[str, ...]) -> tuple[str, ...]:
    """Return a phase without its number: all passes are of one kind."""
    return tuple(NUMBERED.sub("", name) for name in above)
