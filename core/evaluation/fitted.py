"""Data looked at before long work: whether its samples and labels fit the network and the task.

Labels that nobody asked for (label files beside a folder of images) are used where they fit and
left out where they do not. Labels that the user named end the work before it begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..data import Dataset
from ..data.arrays import AnyData, as_dataset
from ..data.probe import ProbedDataset, cautions, found_labels, probe, without_labels
from ..data.stated import input_notes
from ..errors import DataError
from ..ir.network import Caution, Network
from .task import TASKS, USUAL, Task, TaskOptions, find_task

__all__ = ["FittedData", "fit_data"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedData:
    """Data that fits a network, as far as a moment can tell.

    Args:
        dataset: the samples, without labels that do not fit and that nobody asked for.
        task: what the network is measured by.
        notes: what was done with labels that nobody asked for; cautions where they were left out,
            and where inputs were not read but drawn; and `inputs`.
        left_out: the caution on labels that were left out; "" where none were.
        inputs: what is to be known of how pixels become inputs.
    """

    dataset: Dataset
    task: Task
    notes: tuple[str, ...] = ()
    left_out: str = ""
    inputs: tuple[str, ...] = ()


def fit_data(
    network: Network,
    dataset: AnyData,
    task: Task | str | None = None,
    options: TaskOptions = USUAL,
    *,
    asked: bool = False,
) -> FittedData:
    """Check data before long work: labels, the first and the last sample, and the task.

    Every label in memory is checked, and some of those that stand in files of their own. Later
    calls with the same data take no time.

    Args:
        network: what the data was opened for.
        dataset: the data.
        task: as for :func:`~.task.find_task`. A task that is given asks for its labels.
        options: likewise.
        asked: whether the user asks for labels, wherever they were found.

    Raises:
        DataError: samples cannot be read or do not fit the network, the task does not fit, or a
            label that was asked for is no class of the network, or cannot be used.
    """
    dataset = as_dataset(dataset, network)
    drawn = cautions(dataset)
    if drawn:
        return _beside_drawn(network, dataset, task, options, drawn[0], asked=asked)
    inputs = input_notes(network, dataset)
    found = found_labels(dataset)
    try:
        fitting = find_task(network, dataset, task, options)
        probe(dataset, fitting.label_count(network))
    except DataError as error:
        if not found or asked or task is not None:
            raise
        plain = without_labels(dataset)
        probe(plain)
        place = f"{error.where}: " if str(error.where) else ""
        note = Caution(
            f"{dataset.name}: labels were found ({found}), but they do not fit and are not used: "
            f"{place}{error.message}"
        )
        return FittedData(dataset=plain, task=find_task(network, plain, None, options),
                          notes=(note, *inputs), left_out=note, inputs=inputs)  # fmt: skip
    used = found and not asked and task is None
    notes = (f"{dataset.name}: labels were found ({found}) and are used",) if used else ()
    return FittedData(dataset=dataset, task=fitting, notes=(*notes, *inputs), inputs=inputs)


def _beside_drawn(
    network: Network,
    dataset: Dataset,
    task: Task | str | None,
    options: TaskOptions,
    caution: str,
    *,
    asked: bool,
) -> FittedData:
    """Return data some inputs of which are drawn: nothing is measured by its labels.

    Raises:
        DataError: the user asks for labels, or samples cannot be read.
    """
    kind = TASKS.find(task) if isinstance(task, str) else task
    if asked or (kind is not None and kind.target_kind):
        raise DataError(f"{dataset.name}: nothing can be measured by labels here: {caution}")
    assert isinstance(dataset, ProbedDataset)
    plain = dataset.unlabelled()
    probe(plain)
    note = Caution(f"{dataset.name}: {caution}")
    inputs = input_notes(network, dataset)
    return FittedData(dataset=plain, task=find_task(network, plain, task, options),
                      notes=(note, *inputs), left_out=note, inputs=inputs)  # fmt: skip
