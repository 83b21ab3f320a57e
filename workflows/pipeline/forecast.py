"""What running a pipeline would do, and how long it would take about: a look before long work.

Nothing is written, and no data is passed through the network. Times follow from counts and from two
short measurements on this machine: a run of the network, and the factorisation of a matrix. They
are of the right order, no more: other work on the machine makes them several times as long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...core.cost.budgets import OPERATIONS, PARAMETERS
from ...core.cost.network_cost import NetworkCost, measure_cost
from ...core.cost.throughput import seconds_per_sample
from ...core.coupling import Groups, find_groups
from ...core.data.part import MEASURED_EVERY, MEASURED_FROM
from ...core.engine.choosing import using_device
from ...core.engine.threads import within_cores
from ...core.finetune.options import BATCH, EPOCHS
from ...core.obs.schedule import STRIDE
from ...core.options import options_of
from ...core.plan.reach import Reach
from ...core.pruning.options import AUTOMATIC
from ...core.pruning.resolve import OBS
from ...core.statistics.operators import find_operators
from .cache import Kept, Store
from .inputs import DIGESTS, Inputs
from .opened import Opened
from .options import Pipeline
from .run import begun_again, key_of, reach_demand, steps_until
from .steps import STEPS_BY_NAME, measured_models

__all__ = ["Forecast", "StepForecast", "forecast_pipeline"]

LAYER_PASSES = 2.0
"""Passes of a sample through the network for each layer, in a pass of OBS or a repair."""

FACTORISATIONS = 18.0
"""Cubes of the columns of each layer, in the same, in times of one factorisation."""

ANALYSIS_PASS = 0.7
"""Part of a pass that one point of an analysis takes of a sample: only what follows is computed."""

TRAINED = 15.0
"""Passes that one sample of an update takes: forward, backward, teacher, with PyTorch's slower
operators."""

OVERHEAD = 0.002
"""Seconds of an update, for each sample: images, augmentation."""

SUMMARY = 4.0
"""Seconds of the summary's latencies, and of writing and reading again."""

THRESHOLD_PASSES = 4
"""Passes where a threshold decides when to stop."""

SIZE = 512
"""Columns of the matrix that is factorised to see how fast that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepForecast:
    """What a step would do.

    Args:
        name: the step.
        runs: whether it would run.
        why: why it would, or would not, in words.
        samples: of its data; 0 for none.
        seconds: about so long; 0.0 where it would not run, None where nobody knows.
    """

    name: str
    runs: bool
    why: str
    samples: int
    seconds: float | None

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "step": self.name, "runs": self.runs, "why": self.why, "samples": self.samples,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What running a pipeline would do.

    Args:
        output: its folder.
        model: the name of the network.
        cost: of the network before.
        budget: what rates are a fraction of.
        rate: the rate that is asked for; None where something else decides.
        reach: the largest rate; None where nothing is pruned, or a plan says what is removed.
        data: what data is for → samples.
        steps: its steps, in order.
        notes: what must be told of files and data.
    """

    output: Path
    model: str
    cost: NetworkCost
    budget: str
    rate: float | None
    reach: Reach | None
    data: Mapping[str, int]
    steps: tuple[StepForecast, ...]
    notes: tuple[str, ...] = ()

    @property
    def after(self) -> float | None:
        """Operations or parameters after pruning, whichever the rate counts; None for unknown."""
        if self.rate is None or self.budget not in (OPERATIONS, PARAMETERS):
            return None
        return float(getattr(self.cost, self.budget) * (1.0 - self.rate))

    @property
    def seconds(self) -> float:
        """About so long the steps take whose time is known."""
        return sum(step.seconds or 0.0 for step in self.steps)

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "output": str(self.output),
            "model": self.model,
            "operations": self.cost.operations,
            "parameters": self.cost.parameters,
            "budget": self.budget,
            "rate": self.rate,
            "after": self.after,
            "largest_rate": None if self.reach is None else round(self.reach.most, 4),
            "data": dict(self.data),
            "seconds": round(self.seconds, 3),
            "steps": [step.to_data() for step in self.steps],
            "notes": list(self.notes),
        }


def forecast_pipeline(
    pipeline: Pipeline | None = None,
    *,
    until: str | None = None,
    again_from: str | None = None,
    restart: bool = False,
    **settings: Any,
) -> Forecast:
    """Return what :func:`~.run.run_pipeline` would do with the same arguments; write nothing.

    Args:
        pipeline: the pipeline.
        until: as there.
        again_from: as there.
        restart: as there.
        settings: as there.

    Raises:
        SecateurError: the model or the data cannot be read or do not fit, or a step cannot be done:
            all that :func:`~.run.run_pipeline` would find before its first step.
    """
    pipeline = options_of(Pipeline, pipeline, settings)
    notes: list[str] = []
    with using_device(pipeline.device, tell=notes.append):
        found = _forecast(pipeline, until, again_from, restart=restart)
    return replace(found, notes=(*notes, *found.notes))


def _forecast(
    pipeline: Pipeline, until: str | None, again_from: str | None, *, restart: bool
) -> Forecast:
    """Return what would be done, with seconds of the device in use."""
    wanted = steps_until(pipeline, until)
    forced = begun_again(pipeline, again_from, restart=restart)
    store = Store(Path(pipeline.output))
    opened = Opened(pipeline, Inputs(store.folder / DIGESTS))
    groups = find_groups(opened.network)
    demand = None if pipeline.prune is None else reach_demand(opened.network, pipeline.prune)
    if demand is not None:
        demand.check()
    data = {role: opened.dataset(role) for role in pipeline.data}
    costs = _Seconds(opened, groups)
    made: dict[str, Kept] = {}
    steps: list[StepForecast] = []
    for name in wanted:
        why, kept = _why(opened, store, made, steps, name, forced=name in forced)
        if kept is not None:
            made[name] = kept
        samples, seconds = costs.of(name, wanted)
        steps.append(
            StepForecast(
                name=name, runs=kept is None, why=why, samples=samples,
                seconds=0.0 if kept is not None else seconds,
            )
        )  # fmt: skip
    return Forecast(
        output=store.folder,
        model=opened.network.name,
        cost=measure_cost(opened.network, groups),
        budget=OPERATIONS if pipeline.prune is None else pipeline.prune.counted,
        rate=None if pipeline.prune is None else pipeline.prune.rate,
        reach=None if demand is None else demand.reach(),
        data={role: found.samples for role, found in data.items() if found is not None},
        steps=tuple(steps),
        notes=tuple(opened.told()),
    )


def _why(
    opened: Opened,
    store: Store,
    made: Mapping[str, Kept],
    before: list[StepForecast],
    name: str,
    *,
    forced: bool,
) -> tuple[str, Kept | None]:
    """Return why a step would run or not, and what is there if it would not."""
    if forced:
        return "it is asked for again", None
    running = next((step.name for step in before if step.runs), None)
    kept = store.known(name)
    if running is not None:
        if kept is None:
            return "it is new", None
        return f"{running} runs before it, and may make something else", None
    key = key_of(opened, made, name)
    if kept is not None and kept.key == key:
        return "nothing changed", kept
    if STEPS_BY_NAME[name].resumes and store.begun(name, key):
        return "it goes on where it was stopped", None
    return ("what it depends on changed" if kept is not None else "it is new"), None


class _Seconds:
    """How long steps take, about."""

    def __init__(self, opened: Opened, groups: Groups):
        self._opened, self._groups = opened, groups
        self._pipeline = opened.pipeline

    def of(self, step: str, wanted: tuple[str, ...]) -> tuple[int, float | None]:
        """Return the samples of a step, and about how many seconds it takes; None for unknown."""
        own: Mapping[str, Callable[[], tuple[int, float | None]]] = {
            "ana": self._ana,
            "prune": self._prune,
            "finetune": self._finetune,
            "transform": self._transform,
            "valid": lambda: self._valid(wanted),
        }
        return own[step]()

    def _samples(self, role: str) -> int:
        data = self._opened.dataset(role)
        return 0 if data is None else data.samples

    @cached_property
    def _forward(self) -> float:
        return seconds_per_sample(self._opened.network)

    @cached_property
    def _sweep(self) -> tuple[float, float]:
        """Seconds of a pass of OBS or a repair: those for each sample, and the others."""
        operators = find_operators(self._opened.network)
        columns = [
            operator.matrix(self._opened.network.array(operator.weight)).shape[2]
            for operator in operators
        ]
        cubes = sum((size / SIZE) ** 3 for size in columns)
        return (LAYER_PASSES * len(columns) * self._forward, FACTORISATIONS * cubes * _factorised())

    def _ana(self) -> tuple[int, float]:
        options = self._pipeline.ana
        assert options is not None, "this step is there"
        samples = self._samples("calibration")
        prunable = sum(group.prunable for group in self._groups.groups)
        passes = 1.0 + ANALYSIS_PASS * prunable * len(options.rates)
        return samples, passes * samples * self._forward

    def _prune(self) -> tuple[int, float]:
        options = self._pipeline.prune
        assert options is not None, "this step is there"
        samples, measured = self._samples("calibration"), self._samples("measured")
        sweeps = 0.0 if options.repair == "none" or not samples else 1.0
        if samples and self._obs:
            whole = THRESHOLD_PASSES if options.rate is None else math.ceil(options.rate / STRIDE)
            sweeps += whole if options.plan is None else 0
        each, rest = self._sweep
        figures = 2.0 * measured * self._forward
        return samples, sweeps * (each * samples + rest) + figures + SUMMARY

    @property
    def _obs(self) -> bool:
        """Whether OBS removes channels."""
        options = self._pipeline.prune
        if options is None:
            return False
        curves = self._pipeline.ana is not None or options.analysis is not None
        return options.criterion == OBS or (options.criterion == AUTOMATIC and not curves)

    def _transform(self) -> tuple[int, float]:
        samples = self._samples("calibration")
        measured = self._samples("measured")
        return samples, (2.0 * samples + 2.0 * measured) * self._forward + SUMMARY

    def _finetune(self) -> tuple[int, float | None]:
        step = self._pipeline.finetune
        assert step is not None, "this step is there"
        options, samples = step.options, self._samples("training")
        if options.time is not None:
            return samples, options.time
        if (options.own_solver or step.solver is not None) and options.epochs is None:
            return samples, None  # as long as the schedule of the files
        held_out = samples // MEASURED_EVERY if samples >= MEASURED_FROM else 0
        if options.steps is not None:
            seen = options.steps * (options.batch_size or BATCH)
        else:
            seen = round((options.epochs or EPOCHS) * (samples - held_out))
        measured = options.measurements * (held_out + self._samples("validation"))
        return samples, seen * (TRAINED * self._forward + OVERHEAD) + measured * self._forward

    def _valid(self, wanted: tuple[str, ...]) -> tuple[int, float]:
        samples = self._samples("test")
        return samples, (1 + len(measured_models(wanted))) * samples * self._forward


def _factorised() -> float:
    """Return the seconds of the factorisation and the inverse of a matrix of `SIZE` columns."""
    import scipy.linalg

    matrix = np.random.default_rng(0).standard_normal((SIZE, SIZE))
    matrix = matrix @ matrix.T + SIZE * np.eye(SIZE)
    times = []
    with within_cores():
        for _ in range(3):
            began = time.perf_counter()
            scipy.linalg.inv(scipy.linalg.cholesky(matrix, lower=True))
            times.append(time.perf_counter() - began)
    return min(times)
