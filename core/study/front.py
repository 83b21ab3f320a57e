"""The front of a study: models that no other one beats in cost and in quality at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["front_of"]


def front_of(figures: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the models that no other one beats, by rising cost.

    A model beats another where it costs and loses no more, and less of one of both. Of two that are
    alike, the first one beats the other. A figure that is no number is beaten by every number.

    Args:
        figures: cost and loss of each model.
    """
    order = sorted(
        (cost, loss, place)
        for place, (cost, loss) in enumerate(figures)
        if cost == cost and loss == loss
    )
    found: list[int] = []
    least = float("inf")
    for _, loss, place in order:
        if loss < least or not found:
            found.append(place)
            least = loss
    return found
