"""Methods compared: the curves of all families, the best models, and what could not be made."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from ...markup import Table
from ...study.result import Study, front_table
from ..blocks import Block, Code, Folded, Panel, Paragraph
from ..charts import chart
from ..facts import ReportFacts
from ..study_plot import curves, few_images, middle_rate
from .reproduce import folded

__all__ = ["panel"]

CHOSEN = (
    "The best models were chosen by the samples that they are measured on, so their figures are a "
    "little too good; measure the one you take on others"
)

OF_POINTS = ("--methods", "--rates", "--repair", "--low-data", "--seeds")
"""Flags that say which models are made."""

OF_RESULTS = ("--output", "-o", "--report")
"""Flags that say where results are written."""

RESTARTS = ("--restart", "--no-restart")
"""Flags without a value that forget what is known."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return what methods came to; None without a study."""
    study = facts.study
    if study is None:
        return None
    blocks: list[Block] = []
    if study.made:
        caption = f"{study.metric} over the operations that are left"
        table = study.means_table()
        blocks.append(Paragraph(_about(study)))
        blocks.append(chart(caption, lambda width: curves(study, width), table))
        if study.options["low_data"]:
            few = f"{study.metric} by images of each class, at rate {middle_rate(study):g}"
            blocks.append(chart(few, lambda width: few_images(study, width), table))
        blocks += [front_table(study), Paragraph(CHOSEN)]
        commands = "\n".join(map(folded, _commands(facts, study)))
        if commands:
            blocks.append(Code("The best models alone, to the last byte", commands))
    rows = [(reason, f"{count}") for reason, count in study.failures().items()]
    if rows:
        blocks.append(
            Table(caption="Models that could not be made", columns=("Why", "Models"), rows=rows,
                  numeric=(1,))
        )  # fmt: skip
    blocks.append(Folded(summary="All models", block=_all(study)))
    return Panel(name="study", title="Methods", blocks=blocks)


def _about(study: Study) -> str:
    figure = ""
    if study.original_value is not None:
        figure = f" The original has {study.figure(study.original_value)}, the dotted line."
    return (
        "Each point is a model, or the mean of those of several seeds. Bars are intervals over "
        "samples (95 %) where a family has one seed, and else a standard deviation over seeds to "
        f"each side.{figure}"
    )


def _commands(facts: ReportFacts, study: Study) -> Iterator[str]:
    """Yield what makes the best models again: what was run, of their points alone.

    Points that differ in their seed have one command.
    """
    words = shlex.split(facts.command)
    if words[1:2] != ["study"]:
        return
    kept = list(_without(words, {*OF_POINTS, *OF_RESULTS, *RESTARTS}))
    seeds: tuple[str, ...] = ("--seeds", f"{study.options['seeds']}")
    told = set()
    for row in study.pareto():
        point = row.point
        if (key := replace(point, seed=0)) in told:
            continue
        told.add(key)
        own = ["--methods", point.method, "--rates", repr(point.rate), "--repair", point.repair]
        if point.images is not None:
            own += ["--low-data", f"{point.images}", *seeds]
        elif study.options["finetune"] is not None:
            own += seeds
        yield shlex.join([*kept, *own, "-o", f"again/{key.name}"])


def _without(words: Sequence[str], flags: Collection[str]) -> Iterator[str]:
    """Yield the words of a command without some flags and their values."""
    value = False
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag in flags:
            value = not equals and flag not in RESTARTS
        elif value:
            value = False
        else:
            yield word


def _all(study: Study) -> Table:
    columns = ("method", "repair", "rate", "images", "seed", "operations", "value", "loss",
               "reason")  # fmt: skip
    return Table(
        caption="All models",
        columns=tuple(name.capitalize() for name in columns),
        rows=[tuple(row.cells().get(name, "") for name in columns) for row in study.rows],
        numeric=(2, 4, 5, 6, 7),
    )
