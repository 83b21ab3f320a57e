"""Opening the data of a command: what can be wrong with it is told before the work begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur import DataOptions, FittedData, Network, Plan, Purpose, Task

    from .terminal import Terminal

__all__ = ["Parts", "fitted", "parts", "prepared", "same_samples"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The data of a command.

    Args:
        calibration: what a network is pruned, repaired and trained by.
        measured: what it is measured on.
        apart: whether these are others.
    """

    calibration: FittedData
    measured: FittedData
    apart: bool


def parts(
    terminal: Terminal,
    network: Network,
    data: Path,
    val: Path | None,
    reading: DataOptions,
    task: Task | str | None = None,
    *,
    asked: bool = False,
    careful: bool = True,
) -> Parts:
    """Return the data to calibrate on and the data to measure on, and say where they are the same.

    Args:
        terminal: where that is said.
        network: the network.
        data: what it is calibrated on; also the path of what it is measured on, if this holds both.
        val: what it is measured on; None where `data` has to do.
        reading: how data is read.
        task: what the user wants measured.
        asked: whether the command needs labels to measure.
        careful: whether it is wrong to measure on what the network is calibrated on.

    Raises:
        DataError: the data does not fit.
    """
    import secateur

    apart = secateur.stands_apart(data, network, reading)
    given = val is not None
    if not given and not apart:
        found = fitted(terminal, network, data, reading, task, asked=asked, purpose="calibrate")
        if careful and found.dataset.labelled:
            terminal.warn(same_samples(data))
        return Parts(calibration=found, measured=found, apart=False)
    place = data if val is None else val
    same = place.resolve() == data.resolve() and not apart
    first = fitted(terminal, network, data, reading, purpose="calibrate")
    second = fitted(terminal, network, place, reading, task, asked=asked)
    if same:
        terminal.warn(same_samples(data))
    elif not given:
        names = first.dataset.name, second.dataset.name
        if data.suffix.lower() == ".data":
            names = "train=", "valid="
        terminal.note(
            f"note: {data}: {first.dataset.samples} images of {names[0]} calibrate, "
            f"{second.dataset.samples} of {names[1]} measure"
        )
    return Parts(calibration=first, measured=second, apart=True)


def same_samples(data: Path) -> str:
    """Return what is to be said where the same samples calibrate and measure."""
    return (
        f"the same samples ({data}) calibrate and measure: on others, figures will be lower "
        "(--val gives others)"
    )


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
    purpose: Purpose = "measure",
) -> FittedData:
    """Return data that fits a network, and say what was done with labels that nobody asked for.

    Args:
        terminal: where that is said.
        network: the network.
        data: where the data is.
        reading: how it is read.
        task: what the user wants measured; None for what the data calls for.
        asked: whether the command needs the labels.
        purpose: what the data is for.

    Raises:
        DataError: the data does not fit.
    """
    import secateur

    dataset = secateur.open_dataset(data, network, reading, purpose=purpose)
    if secateur.is_made(data):
        terminal.tell(secateur.made_cautions(data))
        with terminal.bars() as progress:
            secateur.make_images(dataset, progress)
    found = secateur.fit_data(network, dataset, task, asked=asked)
    terminal.tell(found.notes)
    return found
