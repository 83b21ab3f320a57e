"""Options of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..cost.budgets import LATENCY, OPERATIONS
from ..errors import PlanError, percent_hint
from ..plan.limits import USUAL_LIMITS, Limits
from ..pruning.options import AUTOMATIC, UNCHANGING, ChoiceOptions, PruneOptions

if TYPE_CHECKING:  # options load without what computes
    from ..cost.target import Target
    from ..evaluation.task import Task
    from ..finetune.options import FinetuneOptions
    from ..sensitivity.result import Analysis

__all__ = ["JOINT", "METHODS", "RATES", "StudyOptions", "parts_of"]

METHODS = ("obs", "l1", "random")
"""What a study compares where nobody says otherwise. Chance is what a method has to beat (Mittal et
al., Recovering from Random Pruning, WACV 2018)."""

RATES = tuple(k / 10 for k in range(1, 10))
"""Rates of the families."""

JOINT = "+"
"""Stands between a criterion and an allocation, and between repairs that follow each other."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What a study compares, and how its models are made.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    methods: Sequence[str] = METHODS
    """How channels are chosen: criteria, each alone or with an allocation (l1+uniform)."""

    rates: Sequence[float] = RATES
    """Fractions to remove, of the operations or of another budget."""

    repairs: Sequence[str] = (AUTOMATIC,)
    """How the remaining weights make up for removed channels. Each of these is tried with each
    method; bias+refit is one after the other."""

    finetune: FinetuneOptions | None = None
    """Fine-tune every model for so long before it is measured. 2epochs, 500steps or 10m; a number
    alone means epochs."""

    seeds: int = 1
    """Repetitions of what is drawn at random: images of --low-data, fine-tuning."""

    low_data: Sequence[int] = ()
    """Also make models calibrated on just N images of each class, drawn anew for each seed."""

    analysis: Analysis | None = None
    """Loss curves measured by `secateur ana`, for methods with an allocation that needs them."""

    budget: str = OPERATIONS
    """What a rate is a fraction of, as for `secateur prune`."""

    target: Target | None = None
    """The engine that the models are for, as for `secateur prune`."""

    task: Task | str | None = None
    """What models are measured by, instead of what the data calls for: the name of a task."""

    exclude: Sequence[str] = ()
    """Keep all channels of this layer."""

    limits: Limits = USUAL_LIMITS
    """Multiples, the floor and the largest fraction, for every group."""

    as_far_as_possible: bool = False
    """Where a rate is out of reach: prune as far as fixed groups and floors allow. Without it, the
    point is left out, with the reason."""

    latency: bool = True
    """Measure the latency of the best models on this machine."""

    jobs: int | None = None
    """Models to work on at once. If not given: one for each core, four at most, or the whole
    cluster."""

    def __post_init__(self) -> None:
        for name in ("methods", "repairs"):
            given = getattr(self, name)
            if not given or not all(isinstance(one, str) and one.strip() for one in given):
                raise PlanError("there are none, or one has no name", option=name)
            object.__setattr__(self, name, tuple(dict.fromkeys(one.strip() for one in given)))
        self._check_rates()
        self._check_draws()
        if self.jobs is not None and self.jobs < 1:
            raise PlanError(f"jobs must be at least 1, got {self.jobs}", option="jobs")
        if self.budget == LATENCY:
            raise PlanError(
                "a study counts no measured time: models that are made at once disturb each other",
                hint="another budget; the latency of the best models is measured in the end",
                option="budget",
            )
        ChoiceOptions(**self._shared())  # which checks them

    def _check_rates(self) -> None:
        if not self.rates:
            raise PlanError("there are no rates to prune at", option="rates")
        for rate in self.rates:
            if not 0.0 < rate < 1.0:
                raise PlanError(
                    f"rates must be over 0 and below 1, got {rate:g}",
                    hint=percent_hint(rate),
                    option="rates",
                )
        rates = sorted({round(float(rate), 9) for rate in self.rates})
        object.__setattr__(self, "rates", tuple(rates))

    def _check_draws(self) -> None:
        if self.seeds < 1:
            raise PlanError(f"there must be at least one seed, got {self.seeds}", option="seeds")
        for images in self.low_data:
            if images < 1:
                raise PlanError(
                    f"there must be at least one image of each class, got {images}",
                    option="low_data",
                )
        object.__setattr__(self, "low_data", tuple(sorted(set(self.low_data))))
        if self.seeds > 1 and not self.low_data and self.finetune is None:
            raise PlanError(
                "seeds would repeat the same: nothing here is drawn at random",
                hint="they go with few images a class, or with fine-tuning",
                option="seeds",
            )

    def _shared(self) -> dict[str, Any]:
        """Return the options of pruning that all points have in common."""
        return {
            "budget": self.budget, "target": self.target, "task": self.task,
            "exclude": self.exclude, "limits": self.limits,
            "as_far_as_possible": self.as_far_as_possible,
        }  # fmt: skip

    def of_point(self, method: str, repair: str, rate: float) -> PruneOptions:
        """Return how a model is pruned.

        Args:
            method: one of :attr:`methods`.
            repair: one of :attr:`repairs`.
            rate: one of :attr:`rates`.

        Raises:
            PlanError: there is no such criterion or allocation.
        """
        from ..allocation.registry import ALLOCATIONS

        criterion, allocation = parts_of(method)
        curves = allocation != AUTOMATIC and ALLOCATIONS.find(allocation).needs_analysis
        return PruneOptions(
            rate=rate, criterion=criterion, allocation=allocation,
            repair=repair.replace(JOINT, ","), analysis=self.analysis if curves else None,
            **self._shared(),
        )  # fmt: skip

    def training(self) -> dict[str, Any] | None:
        """Return how models are fine-tuned, as plain values; None where they are not."""
        if self.finetune is None:
            return None
        plain = self.finetune.plain().items()
        return {name: value for name, value in plain if name not in UNCHANGING}

    def plain(self) -> dict[str, Any]:
        """Return what the result tells of these options, as plain values."""
        choice = ChoiceOptions(**self._shared())
        return {
            "methods": list(self.methods),
            "rates": list(self.rates),
            "repairs": list(self.repairs),
            "finetune": self.training(),
            "seeds": self.seeds,
            "low_data": list(self.low_data),
            "analysis": self.analysis.digest if self.analysis is not None else None,
            "budget": choice.counted,
            "target": self.target.name if self.target is not None else None,
            "task": getattr(choice.task, "metric", choice.task),
            "exclude": list(self.exclude),
            "limits": asdict(self.limits),
            "as_far_as_possible": self.as_far_as_possible,
        }


def parts_of(method: str) -> tuple[str, str]:
    """Return the criterion and the allocation of a method; bn-scale stands for bn_scale, too."""
    from ..criteria.registry import CRITERIA

    criterion, _, allocation = method.partition(JOINT)
    other = criterion.replace("-", "_")
    known = criterion if criterion in CRITERIA or other not in CRITERIA else other
    return known, allocation or AUTOMATIC
