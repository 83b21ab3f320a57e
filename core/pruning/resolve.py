"""Which criterion and which allocation apply, given everything else that the user asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..allocation.normalize import MEAN, NONE
from ..allocation.registry import ALLOCATIONS, Allocation
from ..allocation.threshold import ranks
from ..coupling.groups import Groups
from ..criteria.registry import CRITERIA, ScoreContext, Scores, named_criterion
from ..data import Dataset
from ..errors import PlanError
from ..ir.network import Network
from ..progress import Progress, silent
from ..sensitivity.result import Analysis
from .options import AUTOMATIC, OBS, ChoiceOptions, steps_with_obs

__all__ = ["FORMER_OBS", "OBS", "RANKING", "Method", "resolve", "resolved_criterion", "scores_of"]

FORMER_OBS = "surgery"
"""The name that earlier versions gave to OBS, in commands and in plans."""

RANKING = "global"
"""The allocation that OBS has of its own; for other criteria it ranks their scores."""


@dataclass(frozen=True, slots=True)
class Method:
    """The criterion and the allocation that apply."""

    criterion: str
    allocation: Allocation
    normalize: str = MEAN
    """How one ranking makes scores of different groups comparable."""

    @property
    def obs(self) -> bool:
        """Whether OBS compensates for what is removed."""
        return self.criterion == OBS

    @property
    def obs_allocates(self) -> bool:
        """Whether OBS also decides how many channels each group loses."""
        return self.obs and self.allocation.name == RANKING


def resolve(options: ChoiceOptions, *, rate: float | None, data: Dataset | None) -> Method:
    """Return the criterion and the allocation that apply.

    Args:
        options: what the user asked for.
        rate: the rate; None where there is a threshold.
        data: the samples; None for none.

    Raises:
        PlanError: a name is unknown, or options contradict each other.
    """
    criterion = resolved_criterion(options.criterion, options.analysis, data)
    if criterion == OBS and options.steps > 1:
        raise steps_with_obs()
    allocation = _resolved_allocation(options, criterion, rate)
    if allocation.needs_data and data is None:
        raise PlanError(
            f"allocation '{allocation.name}' measures on data", hint="give images or an .npz"
        )
    return Method(criterion, allocation, _resolved_scale(options, criterion, allocation))


def resolved_criterion(name: str, analysis: Analysis | None, data: Dataset | None) -> str:
    """Return the criterion that applies.

    An analysis has its own; OBS may take the numbers of channels from its curves.

    Raises:
        PlanError: it is unknown, contradicts the analysis or needs data.
    """
    name = OBS if name == FORMER_OBS else named_criterion(name)
    if analysis is not None and name != OBS:
        if name not in (AUTOMATIC, analysis.criterion):
            raise PlanError(
                f"the analysis was made with criterion '{analysis.criterion}'",
                hint="leave the criterion to it, take obs, or analyse again with another",
            )
        return analysis.criterion
    if name == AUTOMATIC:
        return OBS if data is not None else "l1"
    if name == OBS:
        if data is None:
            raise PlanError("obs needs data to calibrate on", hint="give images or an .npz")
    else:
        found = CRITERIA.find(name, also=(AUTOMATIC, OBS))
        if found.needs_data and data is None:
            raise PlanError(f"criterion '{name}' needs data", hint="give images or an .npz")
        found.check()
    return name


def _resolved_allocation(options: ChoiceOptions, criterion: str, rate: float | None) -> Allocation:
    """Return the allocation that applies.

    Raises:
        PlanError: it is unknown, or contradicts other options.
    """
    name, analysis = options.allocation, options.analysis
    if name == AUTOMATIC:
        name = _usual_allocation(criterion, analysis, rate)
    found = ALLOCATIONS.find(name, also=(AUTOMATIC,))
    if found.needs_analysis and analysis is None:
        if rate is None:
            raise PlanError(
                "a threshold needs an analysis, or obs and data to measure the loss on",
                hint="secateur ana makes an analysis",
            )
        raise PlanError(f"allocation '{name}' needs an analysis", hint="secateur ana makes one")
    if found.needs_threshold and rate is not None:
        raise PlanError(
            f"allocation '{name}' takes a threshold, not a rate",
            hint="allocation 'sensitivity' finds the threshold that meets a rate",
        )
    if not found.needs_threshold and rate is None and (criterion, name) != (OBS, RANKING):
        raise PlanError(f"allocation '{name}' takes a rate, not a threshold")
    curves = any(override.threshold is not None for override in options.overrides.values())
    if analysis is not None and not found.needs_analysis and not curves:
        raise PlanError(
            f"allocation '{name}' does not look at an analysis",
            hint="leave the analysis out, or choose sensitivity or greedy",
        )
    return found


def _resolved_scale(options: ChoiceOptions, criterion: str, allocation: Allocation) -> str:
    """Return how scores of different groups are made comparable.

    Raises:
        PlanError: it is asked for where nothing compares them.
    """
    ranked = allocation.name == RANKING and criterion != OBS
    if options.normalize != AUTOMATIC:
        if not ranked:
            raise PlanError(
                "scores of different groups are only compared where one ranking takes them all",
                hint="--allocation global, with another criterion than obs",
                option="normalize",
            )
        return options.normalize
    return NONE if ranked and CRITERIA[criterion].comparable else MEAN


def _usual_allocation(criterion: str, analysis: Analysis | None, rate: float | None) -> str:
    if analysis is not None:
        return "threshold" if rate is None else "sensitivity"
    if criterion == OBS:
        return RANKING
    return "threshold" if rate is None else "uniform"


def scores_of(
    network: Network,
    groups: Groups,
    criterion: str,
    options: ChoiceOptions,
    data: Dataset | None,
    progress: Progress = silent,
) -> Scores:
    """Return the scores that order the channels of each group [units]; the lowest leave first.

    An analysis keeps the order that it was made with. OBS orders channels by itself once it knows
    their number, so its scores are all equal.
    """
    if options.analysis is not None:
        return ranks(groups, options.analysis)
    if criterion == OBS:
        return np.zeros(groups.unit_count)
    context = ScoreContext(
        network=network, groups=groups, data=data, measured_by=options.task, progress=progress,
        jobs=options.jobs,
    )  # fmt: skip
    return CRITERIA.find(criterion).score(context)
