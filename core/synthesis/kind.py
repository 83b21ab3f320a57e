"""The kind of data `synthetic:statistics`; importing this module registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..data import KINDS, Dataset, Kind, Opening
from ..data.naming import made_name
from ..progress import Progress

__all__ = ["STATISTICS", "MadeByFitting"]

STATISTICS = made_name("statistics")
"""The name of images made from the statistics of batch normalisations."""


@runtime_checkable
class MadeByFitting(Protocol):
    """A dataset whose samples take long to make."""

    def make(self, progress: Progress) -> Any:
        """Make all samples now."""
        ...


def _open(_: Path, opening: Opening) -> Dataset:
    from .images import StatisticsDataset

    return StatisticsDataset(
        opening.network,
        samples=opening.options.limit,
        batch=opening.batch,
        preprocess=opening.preprocess,
    )


KINDS.add(
    STATISTICS,
    entry=Kind(
        name=STATISTICS,
        claims=lambda path, _: str(path) == STATISTICS,
        open=_open,
        rank=0,
        made=True,
    ),
)
