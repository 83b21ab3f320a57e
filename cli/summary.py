"""Measuring and writing a model, and the summary after that: table, verification, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import words
from .output import files_as_data

if TYPE_CHECKING:
    from rich.table import Table

    import secateur
    from secateur import Dataset, Progress, RepairRecord, SummaryRow, Target, Task

    from .terminal import Terminal

MORE = "a hundred as --data, labelled or not, change that"
"""What is to be done where there were no images."""


def measure_and_save(
    original: secateur.Network,
    compressed: secateur.PruneResult,
    output: Path,
    *,
    data: Dataset | None,
    measured: Dataset | None,
    task: Task | str | None = None,
    target: Target | None = None,
    progress: Progress,
) -> tuple[Sequence[SummaryRow], secateur.Saved]:
    """Return the rows of the summary and what was written.

    All is measured before anything is written: labels that do not fit leave no files behind.

    Args:
        original: the network as it was read.
        compressed: what is written.
        output: folder.
        data: for verification; None for noise.
        measured: for measurement; None to leave out how good the networks are.
        task: what is measured, if not what the data calls for.
        target: the engine that the network is for.
        progress: told how far the work is.
    """
    import secateur

    before = secateur.stored_bytes(original)
    rows = secateur.summarize(
        original, compressed.network, data=measured, task=task, target=target,
        progress=secateur.inside(progress, "measuring"),
    )  # fmt: skip
    writing = secateur.inside(progress, "writing")
    saved = secateur.save(compressed, output, data=data, progress=writing)
    return secateur.with_sizes(rows, before, saved.size), saved


def print_refused(terminal: Terminal, model: secateur.Network, target: Target, path: Path) -> None:
    """Warn of what a target cannot take of a model in a file."""
    import secateur

    for text in secateur.refused_layers(model, target, str(path)):
        terminal.warn(text)


def print_summary(
    terminal: Terminal,
    rows: Sequence[SummaryRow],
    result: secateur.PruneResult,
    saved: secateur.Saved,
    *,
    table: bool = True,
) -> None:
    """Print what was measured, verified and written.

    Args:
        terminal: where.
        rows: what was measured.
        result: what was removed.
        saved: the files.
        table: whether the table is printed, too: it is what goes to standard output.
    """
    import secateur

    if table:
        terminal.out.print(_table([*rows, *_promised(rows, result)]))
    if result.dense is not None:
        terminal.note(
            "the model has its full size with zeros; `secateur transform --plan "
            f"{saved.plan}` makes it small"
        )
    for row in rows:
        if row.interval is not None:
            told = "no measurable change" if row.unchanged else f"{words.percent(row.delta)}"
            low, high = map(words.percent, row.interval)
            terminal.note(f"{row.item.lower()}: {told} ({low} to {high}, 95 % interval)")
            if row.interval[1] >= 0.0 and not row.padded and result.dense is None and _fewer(rows):
                for text in _not_faster(row.interval[0], secateur.slow_reason(result)):
                    terminal.note(text)
    provenance = result.plan.provenance
    if result.plan.dropped is not None:
        names = ", ".join(entry.name for entry in result.plan.dropped.blocks)
        terminal.note(f"dropped blocks: {names}")
    if "engine_steps" in provenance:
        terminal.note(f"steps of the engine: {provenance['engine_steps']}")
    if "target_latency" in provenance:
        terminal.note(_reached(provenance["target_latency"], provenance["rate"]["achieved"]))
    if provenance.get("budget") == "latency":
        gone = provenance["rate"]["achieved"]
        measured = next(row.delta for row in rows if row.unit == "ms")
        terminal.note(
            f"latency: {words.percent(-gone)} by the times of the layers, "
            f"{words.percent(measured)} measured"
        )
    if any(row.padded for row in rows):
        block = secateur.channel_block()
        terminal.note(
            f"padded: with channels in blocks of {block} (secateur convert --pad-channels {block})"
        )
    found = result.verification
    terminal.note(
        f"masked = dense: {found.difference:.1e}, written = dense: {saved.difference:.1e} "
        f"(largest relative difference, {found.samples} samples of {found.inputs})"
    )
    for text in _repairs(result.repairs):
        terminal.note(text)
    for path in (*saved.paths, *saved.companions, *([saved.plan] if saved.plan else [])):
        terminal.note(f"wrote {path}")


FEWER = -0.05
"""A change of the operations from which on a network should have become faster."""


UNCLEAR = -0.1
"""Where an interval reaches from here to above 0, the network may well be faster."""

BUSY = (
    "times vary too much here to tell whether it is faster: `secateur latency` measures both for "
    "longer, best on a machine that does nothing else"
)


def _not_faster(low: float, reason: str) -> tuple[str, ...]:
    """Return what to say of a latency that may not have fallen.

    Args:
        low: the lower end of the interval of its change.
        reason: why it may not, and what mends that.
    """
    if low <= UNCLEAR:
        return BUSY, f"why it may not be faster: {reason}"
    return (f"why not faster: {reason}",)


def _fewer(rows: Sequence[SummaryRow]) -> bool:
    return any(row.unit == "Op" and row.delta <= FEWER for row in rows)


def _reached(found: dict[str, Any], rate: float) -> str:
    """Return what was measured of a network that was to reach a latency."""
    low, high = map(words.percent, found["change"])
    return (
        f"latency: {found['after']:g} ms of {found['before']:g} ms on {found['engine']} "
        f"({low} to {high}, 95 % interval), asked {found['asked']}, at rate {rate:.3f}"
    )


def summary_as_data(
    rows: Sequence[SummaryRow],
    result: secateur.PruneResult,
    saved: secateur.Saved,
    told: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the same as plain values.

    Args:
        rows: what was measured.
        result: what was removed.
        saved: the files.
        told: notes beside those of the result.
    """
    kept = result.to_data()
    rate = result.plan.provenance.get("rate")
    return {
        "removed": sum(len(group.removed) for group in result.plan.groups),
        "rate": rate.get("achieved") if isinstance(rate, Mapping) else None,
        "rows": [row_as_data(row) for row in [*rows, *_promised(rows, result)]],
        "verification": {**kept["verification"], "written_equals_dense": saved.difference},
        "repairs": kept["repairs"],
        "files": files_as_data((*saved.paths, *saved.companions)),
        "plan": None if saved.plan is None else str(saved.plan),
        "notes": [*result.notes, *told],
    }


def row_as_data(row: SummaryRow) -> dict[str, Any]:
    """Return a row of a summary as plain values."""
    return {
        "item": row.item,
        "unit": row.unit,
        "before": row.original,
        "after": row.compressed,
        "change": row.delta,
        "relative": row.relative,
        "interval": None if row.interval is None else list(row.interval),
    }


def show_rows(terminal: Terminal, rows: Sequence[SummaryRow]) -> None:
    """Print what was measured before and after."""
    terminal.out.print(_table(rows))


def unmeasured(result: secateur.PruneResult, data: Dataset | None, *, made: bool) -> str:
    """Return what is to be said of a pruned network that was measured on nothing.

    Args:
        result: the network with its plan and repairs.
        data: what chose and repaired; None for nothing.
        made: whether these are no real images.
    """
    how = str(result.plan.provenance.get("criterion", "a plan"))
    kept = [record.method for record in result.repairs if record.kept]
    done = f"channels left by {how}, {'repaired by ' + ', '.join(kept) if kept else 'not repaired'}"
    if not made:
        return f"accuracy was not measured: {done}"
    if data is None:
        return f"accuracy is unknown, and probably low: {done}, since there were no images ({MORE})"
    seen = f"no real image was seen: {done}, on {data.samples} {data.name}"
    return f"accuracy is unknown, {seen} ({MORE})"


def print_training(terminal: Terminal, training: secateur.TrainingFiles) -> None:
    """Print which files for training were written, and what is to be done with them."""
    for path in training.paths:
        terminal.note(f"wrote {path}")
    terminal.note(f"training: the loss is {training.loss}")
    for text in training.fill_in:
        terminal.note(f"fill in: {text}")
    terminal.note(f"afterwards: {training.back}")


def _promised(rows: Sequence[SummaryRow], result: secateur.PruneResult) -> Sequence[SummaryRow]:
    """Return what a network with zeros will save once it is transformed."""
    import secateur

    if result.dense is None:
        return []
    cost = secateur.measure_cost(result.dense, secateur.find_groups(result.dense))
    compressed = {"Parameters": cost.parameters, "Operations": cost.operations}
    return [
        secateur.SummaryRow(
            item=f"{row.item}, transformed", original=row.original,
            compressed=compressed[row.item], unit=row.unit,
        )
        for row in rows
        if row.item in compressed
    ]  # fmt: skip


def _repairs(records: Sequence[RepairRecord]) -> list[str]:
    """Return a line on the repairs that were tried; "kept" and "left out" say what came of each."""
    if not records:
        return []
    tried = [
        f"{record.method} {'kept' if record.kept else 'left out'} "
        f"({record.error_before:.3g} → {record.error_after:.3g})"
        for record in records
    ]
    return [f"repair: {', '.join(tried)}; output error on {records[0].measured_on}"]


def _table(rows: Sequence[SummaryRow]) -> Table:
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("Item")
    for name in ("Baseline", "Compressed", "Delta"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.item, row.text(row.original), row.text(row.compressed), row.delta_text)
    return table
