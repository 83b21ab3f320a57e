"""All that a report may tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..cost.describe import Description, describe
from ..coupling import Groups, find_groups
from ..evaluation.summary import SummaryRow
from ..evaluation.task import Task
from ..finetune.result import FinetuneResult
from ..ir.network import Network
from ..markup import Table
from ..pictures.examples import Examples
from ..plan.plan import Plan
from ..pruning.apply import planned
from ..pruning.result import PruneResult
from ..pruning.rounds import Iteration
from ..sensitivity.result import Analysis
from ..study.result import Study
from .latency import LayersTimed

__all__ = ["Check", "ReportFacts", "StepFacts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFacts:
    """A step of a pipeline, as a report tells it.

    Args:
        name: the step.
        came: what it came to, in words.
        seconds: how long it took.
        asked: what was asked of it beside what is usual: setting → value.
    """

    name: str
    came: str
    seconds: float
    asked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A verification.

    Args:
        what: what is equal.
        difference: the largest relative difference.
        on: what it was measured on; "" where that is not told.
    """

    what: str
    difference: float
    on: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What a report tells; what is not there is left out of it.

    Args:
        network: the model before.
        compressed: the model after; that of `result` if not given.
        plan: what was removed; that of `result` if not given.
        result: what pruning gave.
        rows: what was measured of both (:func:`~..evaluation.summary.summarize`).
        analysis: the curves of an analysis.
        iteration: the rounds of an iteration.
        tuned: what fine-tuning came to.
        study: the models of a study.
        task: how figures of the metric are written.
        samples: how many samples `rows` were measured on; None for noise.
        data: the name of these.
        examples: the samples in which both models disagree most.
        times: of the layers.
        steps: of a pipeline, in order.
        models: figures of all models of a pipeline.
        densified: what taking the zeros of a sparse model out gave.
        checks: verifications beside those of the results.
        command: the command line that did all this; "" for none.
        mark: what the page is of, for programs that ask whether it is current.
        texts: further texts to do it again by: title → text.
        files: the files that were written.
        written: largest relative difference of the written files from the network in memory; None
            where nothing was compared.
        notes: what the user should know, beside the notes of the results.
    """

    network: Network
    compressed: Network | None = None
    plan: Plan | None = None
    result: PruneResult | None = None
    rows: Sequence[SummaryRow] = ()
    analysis: Analysis | None = None
    iteration: Iteration | None = None
    tuned: FinetuneResult | None = None
    study: Study | None = None
    task: Task | None = None
    samples: int | None = None
    data: str = ""
    examples: Examples | None = None
    times: LayersTimed | None = None
    steps: Sequence[StepFacts] = ()
    models: Table | None = None
    densified: PruneResult | None = None
    checks: tuple[Check, ...] = ()
    command: str = ""
    mark: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    written: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The heading of the page: what was done, to which model."""
        if self.steps:
            done = "Pipeline"
        elif self.iteration is not None:
            done = "Pruned in rounds"
        elif self.analysis is not None:
            done = "Sensitivity"
        elif self.tuned is not None:
            done = "Fine-tuned"
        elif self.study is not None:
            done = "Methods compared"
        else:
            done = "Pruned"
        return f"{done}: {self.network.name or 'network'}"

    @property
    def after(self) -> Network | None:
        """The model after, without its zeros; None where there is none."""
        if self.compressed is not None or self.result is None:
            return self.compressed
        return self.result.network if self.result.dense is None else self.result.dense

    @property
    def removal(self) -> Plan | None:
        """What was removed; None where nothing was."""
        if self.plan is not None:
            return self.plan
        return self.result.plan if self.result is not None else None

    @cached_property
    def measured(self) -> Sequence[SummaryRow]:
        """The figures of both models: `rows`, or those of the last round that passed."""
        best = self.iteration.best if self.iteration is not None else None
        if self.rows or best is None or self.iteration is None:
            return self.rows
        found = self.iteration
        percent = self.task is not None and self.task.unit == "%"
        factor = 100.0 if percent else 1.0
        return (
            SummaryRow(
                item=found.metric, original=factor * (found.original_value or 0.0),
                compressed=factor * best.value, unit="%" if percent else "", relative=False,
            ),
            SummaryRow(
                item="Parameters", original=found.parameters, compressed=best.parameters
            ),
            SummaryRow(
                item="Operations", original=found.operations, compressed=best.operations,
                unit="Op",
            ),
        )  # fmt: skip

    @cached_property
    def groups(self) -> Groups:
        """The groups of the model before."""
        return find_groups(self.network)

    @cached_property
    def removed_from(self) -> Groups:
        """The groups that channels left: without residual blocks that left before."""
        if self.removal is None:
            return self.groups
        network, _ = planned(self.network, self.removal)
        return self.groups if network is self.network else find_groups(network)

    @cached_property
    def described(self) -> Description:
        """The layers of the model before."""
        return describe(self.network)

    @cached_property
    def described_after(self) -> Description | None:
        """The layers of the model after."""
        return describe(self.after) if self.after is not None else None

    def figure(self, value: float) -> str:
        """Return a figure of the metric as people read it."""
        return self.task.text(value, digits=4) if self.task is not None else f"{value:.4g}"
