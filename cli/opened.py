"""Opening the data of a command: what can be wrong with it is told before the work begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur import DataOptions, FittedData, Network, Task

    from .terminal import Terminal

__all__ = ["fitted"]


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
    for note in found.notes:
        if isinstance(note, secateur.Caution):
            terminal.warn(note)
        else:
            terminal.note(f"note: {note}")
    return found
