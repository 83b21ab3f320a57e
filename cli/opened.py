"""Opening the data of a command: what can be wrong with it is told before the work begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur import DataOptions, FittedData, Network, Plan, Task

    from .terminal import Terminal

__all__ = ["fitted", "prepared"]


def prepared(
    terminal: Terminal,
    network: Network,
    data: Path | None,
    reading: DataOptions,
    *,
    plan: Plan | None = None,
    task: Task | str | None = None,
) -> tuple[Network, DataOptions]:
    """Return a network with the preprocessing that counts for it, and how data is read then.

    Args:
        terminal: where the figures of what was tried are shown.
        network: the network.
        data: labelled data that preprocessing is tried on, where the user asks for that.
        reading: how data is read.
        plan: what the network was pruned by, or is to be: it remembers what was used.
        task: what the user wants measured.

    Raises:
        DataError: there is no such data, or no mean file.
        FormatError, PlanError: a file that the user names says nothing of preprocessing.
    """
    import secateur

    if reading.preprocessing != "auto" or data is None:
        network = secateur.with_preprocess(network, reading, plan=plan)
    else:
        with terminal.bars() as progress:
            network, trials = secateur.fit_preprocess(
                data, network, reading, task=task, progress=progress
            )
        for trial in trials:
            terminal.note(f"{trial.text}: {trial.name}: {secateur.described(trial.preprocess)}")
    return network, replace(reading, preprocessing=None)


def fitted(
    terminal: Terminal,
    network: Network,
    data: Path,
    reading: DataOptions,
    task: Task | str | None = None,
    *,
    asked: bool = False,
) -> FittedData:
    """Return data that fits a network, and say what was done with labels that nobody asked for.

    Args:
        terminal: where that is said.
        network: the network.
        data: where the data is.
        reading: how it is read.
        task: what the user wants measured; None for what the data calls for.
        asked: whether the command needs the labels.

    Raises:
        DataError: the data does not fit.
    """
    import secateur

    found = secateur.fit_data(
        network, secateur.open_dataset(data, network, reading), task, asked=asked
    )
    terminal.tell(found.notes)
    return found
