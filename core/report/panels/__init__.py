"""The sections of a report, one a file, each a function from the facts to a panel or to none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..blocks import Panel
from ..facts import ReportFacts
from . import (
    before_after,
    curve,
    graph,
    groups,
    layers,
    order,
    overview,
    pictures,
    reproduce,
    sensitivity,
    steps,
    study,
    training,
    verification,
)

__all__ = ["PANELS", "panels_of"]

PANELS: tuple[Callable[[ReportFacts], Panel | None], ...] = (
    overview.panel,
    before_after.panel,
    steps.panel,
    curve.panel,
    study.panel,
    training.panel,
    sensitivity.panel,
    layers.panel,
    order.panel,
    pictures.panel,
    groups.panel,
    verification.panel,
    graph.panel,
    reproduce.panel,
)
"""In the order in which they stand in a report."""


def panels_of(facts: ReportFacts) -> Sequence[Panel]:
    """Return the panels that have something to tell."""
    return [made for panel in PANELS if (made := panel(facts)) is not None]
