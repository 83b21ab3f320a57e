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
from typing import TYPE_CHECKING, Any

from ..cost.budgets import LATENCY, OPERATIONS, TARGET, check_budget
from ..cost.latency_goal import LatencyGoal
from ..cost.layer_times import plain_times, times_of
from ..errors import PlanError, percent_hint
from ..plan.limits import USUAL_LIMITS, Limits

if TYPE_CHECKING:  # options load without what computes
    from ..allocation.overrides import Override
    from ..cost.latency import Stopwatch
    from ..cost.layer_times import LayerTimes
    from ..cost.target import Target
    from ..evaluation.task import Task
    from ..finetune.options import FinetuneOptions
    from ..plan.plan import Plan
    from ..repair.registry import Repairs
    from ..sensitivity.result import Analysis

__all__ = [
    "AUTOMATIC",
    "OBS",
    "SCHEDULES",
    "ChoiceOptions",
    "DensifyOptions",
    "IterateOptions",
    "PruneOptions",
    "rising_rates",
    "steps_with_obs",
]

AUTOMATIC = "auto"
"""Lets the rest of the options decide: OBS where there is data, else the L1 norm."""

OBS = "obs"
"""Structured Optimal Brain Surgeon: criterion, allocation and compensation in one."""

ONE_STEP = "one-step"
"""The allocation that measures candidates."""

SCHEDULES = ("linear", "geometric")
"""How rates rise: in equal steps, or so that every round takes the same part of what is left."""

UNCHANGING = ("checkpoint", "device")
"""Options of fine-tuning that do not change what it comes to."""


def steps_with_obs() -> PlanError:
    """Return the error of steps for a criterion that has steps of its own."""
    return PlanError(
        "obs measures anew by itself, in steps of its own",
        hint="leave the steps out, or name another criterion",
        option="steps",
    )


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """What decides which channels are removed, and what makes up for them.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    criterion: str = AUTOMATIC
    """Which channels are removed first. auto: obs with data, else l1."""

    allocation: str = AUTOMATIC
    """How many channels each group loses."""

    steps: int = 1
    """Remove channels in so many steps, and score those that are left again after each: each step
    takes the same part of what is left. 1: all at once."""

    candidates: int | None = None
    """How many allocations one-step compares. If not given: 50."""

    normalize: str = AUTOMATIC
    """What makes scores of different groups comparable where one ranking takes them all: they are
    divided by the mean, the L2 norm or the largest of their group, or by nothing."""

    analysis: Analysis | None = None
    """Loss curves measured by `secateur ana`; they distribute a rate or a threshold over the
    groups."""

    budget: str = OPERATIONS
    """What a rate is a fraction of: operations, convolutions (their operations alone), parameters,
    latency, or target: the cost of --target, which is what a rate counts where there is one."""

    target: Target | None = None
    """The engine that the network is for. Its blocks of channels decide what a removal saves, and
    what saves nothing stays. `secateur targets` lists them."""

    task: Task | str | None = None
    """What the network is measured by, instead of what the data calls for: the name of a task."""

    latencies: LayerTimes | None = None
    """For the latency budget: milliseconds per layer, or the times.csv of `secateur latency
    --export`. Measured on this machine if not given."""

    overrides: Mapping[str, Override] = field(default_factory=dict)
    """Rate or threshold of single layers, whatever the others lose."""

    repair: Repairs = AUTOMATIC
    """How the remaining weights make up for removed channels, without training. A repair is kept
    only where it helps."""

    exclude: Sequence[str] = ()
    """Keep all channels of this layer."""

    limits: Limits = USUAL_LIMITS
    """Multiples, the floor and the largest fraction, for every group."""

    as_far_as_possible: bool = False
    """Where a rate is out of reach: prune as far as fixed groups and floors allow, and say so."""

    drop_blocks: int | str | Sequence[str] | None = None
    """Drop residual blocks as a whole before channels leave: so many, those whose loss is least for
    what they save; with a rate "auto", as long as channels would lose more; or those that end at
    named layers. A single layer whose name is a number gets a comma behind it (16,)."""

    jobs: int | None = field(default=None, repr=False)
    """Threads for criteria and allocations that make many passes. If not given: all cores, or the
    whole cluster."""

    def __post_init__(self) -> None:
        self._name_functions()
        check_budget(self.budget)
        if self.jobs is not None and self.jobs < 1:
            raise PlanError(f"jobs must be at least 1, got {self.jobs}", option="jobs")
        self._check_scale()
        self._check_blocks()
        self._check_steps()
        if self.latencies is not None and self.budget != LATENCY:
            raise PlanError(
                f"latencies say nothing of a budget of {self.budget}",
                hint="budget latency",
                option="latencies",
            )
        if self.budget == TARGET and self.target is None:
            raise PlanError(
                "a budget of target needs a target",
                hint="--target NAME; secateur targets lists them",
                option="budget",
            )
        if self.target is not None and self.budget not in (OPERATIONS, TARGET):
            raise PlanError(
                f"a target counts its own cost, not {self.budget}",
                hint="leave the target out: measured times tell the blocks of the engine"
                if self.budget == LATENCY
                else "leave the budget out",
                option="budget",
            )

    @property
    def counted(self) -> str:
        """The budget that a rate is a fraction of: the cost of the target where there is one."""
        return TARGET if self.target is not None else self.budget

    def _check_scale(self) -> None:
        if self.normalize == AUTOMATIC:
            return
        from ..allocation.normalize import SCALES

        if self.normalize not in SCALES:
            names = " or ".join((AUTOMATIC, *SCALES))
            raise PlanError(
                f"scores are normalised by {names}, not '{self.normalize}'", option="normalize"
            )

    def _check_steps(self) -> None:
        if self.steps < 1:
            raise PlanError("there must be at least one step", option="steps")
        if self.steps > 1 and self.criterion == OBS:
            raise steps_with_obs()
        if self.steps > 1 and self.analysis is not None:
            raise PlanError(
                "an analysis keeps the order of channels that it was made with",
                hint="leave the steps or the analysis out",
                option="steps",
            )
        if self.candidates is None:
            return
        if self.candidates < 1:
            raise PlanError("there must be at least one candidate", option="candidates")
        if self.allocation != ONE_STEP:
            raise PlanError(
                f"only the allocation {ONE_STEP} has candidates",
                hint=f"--allocation {ONE_STEP}",
                option="candidates",
            )

    def _check_blocks(self) -> None:
        asked = self.drop_blocks
        if asked is None:
            return
        if isinstance(asked, bool) or (isinstance(asked, int) and asked < 1):
            raise PlanError("at least one block must be dropped", option="drop_blocks")
        if not isinstance(asked, int | str) and not all(isinstance(name, str) for name in asked):
            raise PlanError("blocks are named by the names of layers", option="drop_blocks")
        if not isinstance(asked, int) and not self.block_names and asked != AUTOMATIC:
            raise PlanError("no block is named", option="drop_blocks")
        if self.analysis is not None:
            raise PlanError(
                "an analysis is of the network with all its blocks",
                hint="drop blocks first, then analyse what is left",
                option="drop_blocks",
            )

    @property
    def block_names(self) -> tuple[str, ...]:
        """The layers at which blocks end that are dropped; empty where blocks are chosen."""
        asked = self.drop_blocks
        if asked is None or isinstance(asked, int) or asked == AUTOMATIC:
            return ()
        names = asked.split(",") if isinstance(asked, str) else asked
        return tuple(name.strip() for name in names if name.strip())

    def _name_functions(self) -> None:
        """Register functions that stand for names, and put names in their places."""
        if any(isinstance(time, list) for time in (self.latencies or {}).values()):  # of a plan
            object.__setattr__(self, "latencies", times_of(self.latencies or {}))
        criterion: Any = self.criterion  # a function, where a program gives one
        if not isinstance(criterion, str):
            from ..criteria.registry import named_criterion

            object.__setattr__(self, "criterion", named_criterion(criterion))
        allocation: Any = self.allocation  # a function, where a program gives one
        if not isinstance(allocation, str):
            from ..allocation.registry import named_allocation

            object.__setattr__(self, "allocation", named_allocation(allocation))
        if not isinstance(self.repair, str | bool):
            from ..repair.registry import named_repairs

            object.__setattr__(self, "repair", named_repairs(self.repair))
        if self.task is not None and not isinstance(self.task, str):
            from ..evaluation.own import as_task

            object.__setattr__(self, "task", as_task(self.task))

    def plain(self) -> dict[str, Any]:
        """Return all options as plain values: equal ones for equal choices only.

        How many threads there are changes no choice.
        """
        found = {option.name: getattr(self, option.name) for option in fields(ChoiceOptions)}
        del found["jobs"]
        task, target, normalize = (found.pop(name) for name in ("task", "target", "normalize"))
        steps, candidates = found.pop("steps"), found.pop("candidates")
        return {
            **found,
            **({"normalize": normalize} if normalize != AUTOMATIC else {}),
            **({"steps": steps} if steps != 1 else {}),
            **({"candidates": candidates} if candidates is not None else {}),
            **({"target": target.recorded()} if target is not None else {}),
            **({"task": getattr(task, "metric", task)} if task is not None else {}),
            "analysis": self.analysis.digest if self.analysis is not None else None,
            "latencies": plain_times(self.latencies) if self.latencies is not None else None,
            "overrides": {name: value.to_data() for name, value in self.overrides.items()},
            "exclude": list(self.exclude),
            "drop_blocks": list(self.block_names) or self.drop_blocks,
            "limits": asdict(self.limits),
        }

    def changed(self) -> dict[str, Any]:
        """Return those plain values that are not the defaults, in the order of the fields."""
        usual = ChoiceOptions().plain()
        return {name: value for name, value in self.plain().items() if value != usual.get(name)}


@dataclass(frozen=True, kw_only=True)
class PruneOptions(ChoiceOptions):
    """How to prune: how much, which channels, and what makes up for them.

    Exactly one of `rate`, `threshold`, `target_latency` and `plan` is given, or blocks are dropped
    without a rate.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    rate: float | None = None
    """Fraction of the budget to remove, from 0 to below 1."""

    threshold: float | None = None
    """Loss to allow, instead of a rate: of each group alone with an analysis, else of the whole
    network."""

    target_latency: str | None = None
    """Latency to reach, instead of a rate: 5ms, or 0.6x of the original. The smallest rate that is
    fast enough is found by timing networks on --engine."""

    engine: Stopwatch | None = None
    """The engine that a target latency is measured on; onnxruntime if not given."""

    plan: Plan | None = None
    """Carry out this plan, instead of choosing channels by a rate or a threshold."""

    sparse: bool = False
    """Sparse: keep the full size, with zeros for removed channels, to fine-tune elsewhere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = {
            "rate": self.rate, "threshold": self.threshold, "target_latency": self.target_latency,
            "plan": self.plan,
        }  # fmt: skip
        given = [name for name, value in wanted.items() if value is not None]
        if self.drop_blocks is not None:
            if self.threshold is not None:
                raise PlanError(
                    "a threshold does not say how much blocks may lose",
                    hint="drop blocks by a number, by name, or with a rate",
                    option="threshold",
                )
            if self.drop_blocks == AUTOMATIC and self.rate is None and self.plan is None:
                raise PlanError(
                    "a rate says how much leaves, in blocks and channels together",
                    hint="give --rate, or a number of blocks",
                    option="drop_blocks",
                )
            if self.overrides and self.rate is None and self.plan is None:
                raise PlanError(
                    "layers that lose channels of their own need a rate for the whole",
                    hint="give --rate",
                    option="overrides",
                )
        if len(given) != 1 and (given or self.drop_blocks is None):
            raise PlanError(
                "give one of a rate, a threshold, a target latency and a plan",
                option=[*given, "rate"][0],
            )
        self._check_latency()
        if self.rate is not None and not 0.0 <= self.rate < 1.0:
            raise PlanError(
                f"the rate must be from 0 to below 1, got {self.rate:g}",
                hint=percent_hint(self.rate),
                option="rate",
            )
        if self.steps > 1 and self.threshold is not None:
            raise PlanError("steps lead to a rate, not to a threshold", option="steps")
        if self.as_far_as_possible and self.rate is None:
            raise PlanError("as far as possible goes with a rate only", option="as_far_as_possible")
        if self.plan is None:
            return
        for option in (
            "allocation", "normalize", "steps", "candidates", "budget", "overrides", "drop_blocks",
        ):  # fmt: skip
            if option in self.changed():
                raise PlanError("a plan says itself what is removed", option=option)

    def _check_latency(self) -> None:
        if self.target_latency is None:
            if self.engine is not None:
                raise PlanError(
                    "an engine times what a target latency asks for",
                    hint="--target-latency 5ms; secateur latency times models as they are",
                    option="engine",
                )
            return
        LatencyGoal.of(self.target_latency)
        if self.drop_blocks is not None:
            raise PlanError(
                "a target latency is reached by channels alone",
                hint="drop blocks first, then prune what is left",
                option="target_latency",
            )


@dataclass(frozen=True, kw_only=True)
class IterateOptions(ChoiceOptions):
    """How to prune in rounds.

    Raises:
        PlanError: an option is out of range, or contradicts another.
    """

    rates: Sequence[float]
    """Rate of each round: fraction of the original's budget to remove. It rises from round to
    round."""

    previous: bool | None = None
    """Where a round starts: from the original, or from the network of the previous round. Rates and
    plans count from the original either way. If not given: from the previous round where rounds are
    fine-tuned, else from the original."""

    finetune: FinetuneOptions | None = None
    """Fine-tune the network of each round for so long before it is measured: by labels where the
    data has them, and by what the original computes. 2epochs, 500steps or 10m; a number alone means
    epochs."""

    max_drop: float | None = None
    """With labels: stop after a round that loses more percentage points than this."""

    max_divergence: float | None = None
    """Without labels: stop after a round whose outputs diverge more than this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for rate in self.rates:
            if not 0.0 < rate < 1.0:
                raise PlanError(
                    f"rates must be over 0 and below 1, got {rate:g}",
                    hint=percent_hint(rate),
                    option="rates",
                )
        if not self.rates or any(one >= other for one, other in pairwise(self.rates)):
            raise PlanError("rates must rise from round to round", option="rates")
        if not self.goes_on:
            return
        for given, what in (
            (self.budget == LATENCY, "a budget of latency"),
            (bool(self.overrides), "a layer's own rate"),
            (self.limits.max_rate < 1.0, "a largest share"),
            (self.drop_blocks == AUTOMATIC, "dropping blocks where channels lose more"),
        ):
            if given:
                raise PlanError(
                    f"{what} is of the original network",
                    hint="start from the original (--from original)",
                    option="previous",
                )

    @property
    def goes_on(self) -> bool:
        """Whether a round starts from the network of the one before it."""
        return self.previous if self.previous is not None else self.finetune is not None

    def key(self) -> str:
        """Return a text that is equal for equal choices in every round only.

        The task is left out: its name may stand for what the data calls for anyway. So is what
        happens where a rate is out of reach: it does not change what a round makes.
        """
        out = ("task", "as_far_as_possible")
        plain = {name: value for name, value in self.plain().items() if name not in out}
        if self.finetune is not None:
            training = self.finetune.plain().items()
            plain["finetune"] = {name: value for name, value in training if name not in UNCHANGING}
        return json.dumps({**plain, "previous": self.goes_on}, sort_keys=True)

    def of_round(self, rate: float) -> PruneOptions:
        """Return the options of one round.

        Args:
            rate: fraction of the budget of the network that the round starts from.
        """
        choice = {option.name: getattr(self, option.name) for option in fields(ChoiceOptions)}
        return PruneOptions(rate=rate, **choice)


@dataclass(frozen=True, kw_only=True)
class DensifyOptions:
    """How a plan takes its channels out of a network."""

    repair: Repairs = "absorb"
    """How the remaining weights make up for removed channels, without training. absorb: what these
    still contribute (a bias that training moved, for example) goes into the biases of the layers
    that read them."""

    force: bool = False
    """Remove channels even where they carry weight again."""


def rising_rates(to: float, rounds: int, schedule: str = "linear") -> tuple[float, ...]:
    """Return rates that rise to `to`, one a round.

    Args:
        to: the last.
        rounds: how many.
        schedule: one of :data:`SCHEDULES`.

    Raises:
        PlanError: there is no round, the rate is out of range, or there is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise PlanError(
            f"a schedule of rates is {' or '.join(SCHEDULES)}, not {schedule}", option="schedule"
        )
    if rounds < 1:
        raise PlanError("there must be at least one round", option="rounds")
    if not 0.0 < to < 1.0:
        raise PlanError(
            f"the last rate must be over 0 and below 1, got {to:g}",
            hint=percent_hint(to),
            option="to",
        )
    parts = [number / rounds for number in range(1, rounds + 1)]
    if schedule == "linear":
        return tuple(round(to * part, 9) for part in parts)
    return tuple(round(1.0 - (1.0 - to) ** part, 9) for part in parts)
