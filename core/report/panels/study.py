"""Methods compared: the curves of all families, the best models, and what could not be made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ...markup import Table
from ...pruning.options import AUTOMATIC
from ...study.options import parts_of
from ...study.result import Study, front_table, means_table
from ..blocks import Block, Code, Folded, Panel, Paragraph
from ..charts import chart
from ..facts import ReportFacts
from ..study_plot import curves, few_images, middle_rate

__all__ = ["panel"]

CHOSEN = (
    "The best models were chosen by the samples that they are measured on, so their figures are a "
    "little too good; measure the one you take on others"
)


def panel(facts: ReportFacts) -> Panel | None:
    """Return what methods came to; None without a study."""
    study = facts.study
    if study is None:
        return None
    blocks: list[Block] = []
    if study.made:
        caption = f"{study.metric} over the operations that are left"
        table = means_table(study)
        blocks.append(Paragraph(_about(study)))
        blocks.append(chart(caption, lambda width: curves(study, width), table))
        if study.options["low_data"]:
            few = f"{study.metric} by images of each class, at rate {middle_rate(study):g}"
            blocks.append(chart(few, lambda width: few_images(study, width), table))
        blocks += [front_table(study), Paragraph(CHOSEN)]
        commands = "\n".join(_commands(facts, study))
        if commands:
            blocks.append(Code("The best models alone, before fine-tuning", commands))
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
    bars = (
        "a standard deviation over seeds to each side" if study.options["seeds"] > 1
        else "intervals that hold the true value with 95 %, by the bootstrap over samples"
    )  # fmt: skip
    return f"Each point is a model, or the mean of those of several seeds. Bars are {bars}.{figure}"


def _commands(facts: ReportFacts, study: Study) -> Iterator[str]:
    """Yield what makes each of the best models again that was calibrated on all samples."""
    source = facts.network.source
    if source is None:
        return
    files = shlex.join(str(path) for path in source.paths.values())
    for row in study.pareto():
        point = row.point
        if point.images is not None:
            continue
        criterion, allocation = parts_of(point.method)
        more = f" --allocation {allocation}" if allocation != AUTOMATIC else ""
        repair = point.repair.replace("+", ",")
        yield (
            f"secateur prune {files} --data {shlex.quote(study.data)} --rate {point.rate:g} "
            f"--criterion {criterion}{more} --repair {repair} -o {shlex.quote(point.name)}/"
        )


def _all(study: Study) -> Table:
    columns = ("method", "repair", "rate", "images", "seed", "operations", "value", "loss",
               "reason")  # fmt: skip
    return Table(
        caption="All models",
        columns=tuple(name.capitalize() for name in columns),
        rows=[tuple(row.cells().get(name, "") for name in columns) for row in study.rows],
        numeric=(2, 4, 5, 6, 7),
    )
