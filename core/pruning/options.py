"""Options of the pruning workflows. Each is spelled, documented and checked here alone.

Keyword arguments, flags of the commands, configuration files and the provenance in plans derive
from these dataclasses: the name of a field is its name everywhere, and the text below a field is
its help.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeVar

from ..allocation.overrides import Override
from ..cost.budget import LATENCY, OPERATIONS, check_budget
from ..errors import PlanError
from ..plan.limits import NO_LIMITS, Limits
from ..repair.registry import Repairs
from ..sensitivity.result import Analysis

__all__ = [
    "AUTOMATIC",
    "ChoiceOptions",
    "IterateOptions",
    "PruneOptions",
    "options_of",
    "rising_rates",
]

AUTOMATIC = "auto"
"""Lets the rest of the options decide: OBS where there is data, else the L1 norm."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """What decides which channels are removed, and what makes up for them.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    criterion: str = AUTOMATIC
    """Which channels are removed first: obs, or the name of a criterion."""

    allocation: str = AUTOMATIC
    """How many channels each group loses: the name of an allocation."""

    analysis: Analysis | None = None
    """Loss curves that `secateur ana` measured; they share out a rate or a threshold."""

    budget: str = OPERATIONS
    """What a rate is a fraction of: operations, parameters or latency."""

    latencies: Mapping[str, float] | None = None
    """For a budget of latency: milliseconds of each layer; measured here if not given."""

    overrides: Mapping[str, Override] = field(default_factory=dict)
    """Rate or threshold of single layers, whatever the others lose."""

    repair: Repairs = "auto"
    """What makes up for the loss: auto, none, or names with commas; kept where it helps."""

    exclude: Sequence[str] = ()
    """Names of layers that keep all their channels."""

    limits: Limits = NO_LIMITS
    """Multiples and the largest fraction, for every group."""

    def __post_init__(self) -> None:
        check_budget(self.budget)
        if self.latencies is not None and self.budget != LATENCY:
            raise PlanError(
                f"latencies say nothing of a budget of {self.budget}", hint="budget latency"
            )

    def plain(self) -> dict[str, Any]:
        """Return all options as plain values: equal ones for equal choices only."""
        found = {option.name: getattr(self, option.name) for option in fields(ChoiceOptions)}
        return {
            **found,
            "analysis": self.analysis.digest if self.analysis is not None else None,
            "latencies": {name: float(time) for name, time in self.latencies.items()}
            if self.latencies is not None
            else None,
            "overrides": {name: value.to_data() for name, value in self.overrides.items()},
            "exclude": list(self.exclude),
            "limits": asdict(self.limits),
        }

    def changed(self) -> dict[str, Any]:
        """Return those plain values that are not the defaults, in the order of the fields."""
        usual = ChoiceOptions().plain()
        return {name: value for name, value in self.plain().items() if value != usual[name]}


@dataclass(frozen=True, kw_only=True)
class PruneOptions(ChoiceOptions):
    """How to prune: how much, which channels, and what makes up for them.

    Exactly one of `rate` and `threshold` is given.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    rate: float | None = None
    """Fraction of the operations (or of another budget) to remove, 0 to below 1."""

    threshold: float | None = None
    """Loss to allow instead of a rate: for each group with an analysis, else for the network."""

    sparse: bool = False
    """Keep the full size with zeros in place of removed channels, for fine-tuning elsewhere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.rate is None) == (self.threshold is None):
            raise PlanError("a rate or a threshold is needed, and not both")
        if self.rate is not None and not 0.0 <= self.rate < 1.0:
            raise PlanError(f"the rate must be from 0 to below 1, got {self.rate:g}")


@dataclass(frozen=True, kw_only=True)
class IterateOptions(ChoiceOptions):
    """How to prune in rounds.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    rates: Sequence[float]
    """Rising fractions of the original's budget, one a round."""

    previous: bool = False
    """Prune what the round before left, not the original; rates stay fractions of the original."""

    max_drop: float | None = None
    """Points of a hundred of the metric that a round may lose (labelled data)."""

    max_divergence: float | None = None
    """Divergence from the original's outputs that a round may have (data without labels)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for rate in self.rates:
            if not 0.0 < rate < 1.0:
                raise PlanError(f"rates must be over 0 and below 1, got {rate:g}")
        if not self.rates or any(one >= other for one, other in pairwise(self.rates)):
            raise PlanError("rates must rise from round to round")
        if not self.previous:
            return
        for given, what in (
            (self.analysis is not None, "an analysis"),
            (self.budget == LATENCY, "a budget of latency"),
            (bool(self.overrides), "a layer's own rate"),
            (self.limits.max_rate < 1.0, "a largest share"),
        ):
            if given:
                raise PlanError(
                    f"{what} is of the original network", hint="start from the original"
                )

    def key(self) -> str:
        """Return a text that is equal for equal choices in every round only."""
        return json.dumps({**self.plain(), "previous": self.previous}, sort_keys=True)

    def of_round(self, rate: float) -> PruneOptions:
        """Return the options of one round.

        Args:
            rate: fraction of the budget of the network that the round starts from.
        """
        choice = {option.name: getattr(self, option.name) for option in fields(ChoiceOptions)}
        return PruneOptions(rate=rate, **choice)


def rising_rates(to: float, rounds: int) -> tuple[float, ...]:
    """Return rates that rise to `to` in equal steps.

    Raises:
        PlanError: there is no round, or the rate is out of range.
    """
    if rounds < 1:
        raise PlanError("there must be at least one round")
    if not 0.0 < to < 1.0:
        raise PlanError(f"the last rate must be over 0 and below 1, got {to:g}")
    return tuple(round(to * number / rounds, 9) for number in range(1, rounds + 1))


def options_of(kind: type[T], options: T | None, settings: Mapping[str, Any]) -> T:
    """Return options that a caller gave as an object, or as keyword arguments.

    Raises:
        TypeError: both are given, or a keyword is no option.
    """
    if options is None:
        return kind(**settings)
    if settings:
        raise TypeError(f"give {kind.__name__} or keywords, not both: {', '.join(settings)}")
    return options
