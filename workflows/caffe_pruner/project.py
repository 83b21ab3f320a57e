"""What a config of vai_p_caffe names, opened: net, data, what is measured, the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from ...core.data import DataOptions, Dataset
from ...core.data.part import some_of
from ...core.data.text import found_beside
from ...core.errors import FormatError, PlanError, located, nearest_hint
from ...core.evaluation.fitted import fit_data
from ...core.evaluation.measure import measured
from ...core.evaluation.metrics.detection import Finder
from ...core.evaluation.task import USUAL, Task
from ...core.evaluation.tasks.classification import Classification
from ...core.evaluation.tasks.detection import Detection
from ...core.ir.heads import box_heads, no_head
from ...core.ir.network import Network
from ...core.progress import Progress, silent
from ...formats.caffe.data.accuracy import measures_boxes, named_accuracy
from ...formats.caffe.data.named import NamedData, named_data
from ...formats.caffe.pruner_config import (
    AP_VERSIONS,
    USUAL_AP_VERSION,
    PrunerConfig,
    read_pruner_config,
)
from ...formats.caffe.source import CaffeSource
from ...formats.loading import load
from ...formats.options import LoadOptions
from ...formats.saving import PLAN_NAME
from ..datasets import open_dataset

__all__ = [
    "FINAL",
    "NET_FINETUNE",
    "SNAPSHOTS",
    "SPARSE",
    "CaffeProject",
    "excluded_layers",
    "found_file",
    "open_caffe_project",
]

ANA = ".ana.regular"
"""Name of the analysis in the workspace."""

SPARSE, NET_FINETUNE, FINAL = "sparse.caffemodel", "net_finetune.prototxt", "final.prototxt"
"""Names of the files in the folder of a rate."""

CALIBRATED = 1000
"""Images that channels are chosen by. More make hardly a difference (docs/results.md)."""

SNAPSHOTS = "snapshots"
"""Folder of snapshots in the folder of a rate. Versions 1.1 and 1.2 had none."""


@dataclass(frozen=True)
class CaffeProject:
    """A config with what it names.

    Args:
        config: the config.
        model: the net.
        weights: its weights.
        network: the net in phase TEST.
        test: the data that it is measured on.
        train: the data that calibrates and trains.
        exclude: names of the layers that keep all channels.
    """

    config: PrunerConfig
    model: Path
    weights: Path
    network: Network
    test: NamedData
    train: NamedData
    exclude: tuple[str, ...]

    @property
    def workspace(self) -> Path:
        """Folder of all results, as the config spells it."""
        return Path(self.config.workspace)

    @property
    def analysis_file(self) -> Path:
        """The file of the analysis."""
        return self.workspace / ANA

    @property
    def rate(self) -> float:
        """The rate.

        Raises:
            FormatError: the config does not say it.
        """
        return float(self.config.required("rate"))

    @property
    def folder(self) -> Path:
        """Folder of the rate's results.

        Raises:
            FormatError: the config does not say the rate.
        """
        return self.workspace / f"regular_rate_{self.rate:g}"

    @property
    def files(self) -> tuple[Path, ...]:
        """What pruning writes: sparse weights, the net that trains them, the small net, the plan.

        Raises:
            FormatError: the config does not say the rate.
        """
        return tuple(self.folder / name for name in (SPARSE, NET_FINETUNE, FINAL, PLAN_NAME))

    @property
    def tested(self) -> int:
        """Samples of a measurement, where the data has so many."""
        return self.config.test_iter * self.test.batch

    @cached_property
    def measure(self) -> tuple[Network, Task]:
        """The net with the scores that are measured among its outputs, and what is measured."""
        return self._measured(self.network)

    def _measured(self, network: Network) -> tuple[Network, Task]:
        """Return what :attr:`measure` holds, for any network made of this one.

        Raises:
            DataError: the net has no such measurement.
        """
        with located(
            file=str(self.config.path), line=self.config.lines.get("acc_name"), field="acc_name"
        ):
            if measures_boxes(network, self.config.acc_name):
                return network, self._boxes(network)
            exposed, task = named_accuracy(network, self.config.acc_name)
        (best,) = task.top
        return exposed, Classification(task.output, task.top, best)

    def _boxes(self, network: Network) -> Detection:
        """Return what the config measures a detector by.

        Raises:
            DataError: the net finds no boxes.
        """
        heads = box_heads(network)
        if not heads:
            raise no_head(network)
        finder = Finder(heads=heads, score=USUAL.score, suppress=USUAL.suppress)
        counted = AP_VERSIONS[self.config.ssd_ap_version or USUAL_AP_VERSION]
        return counted(finder, USUAL.overlap)

    @cached_property
    def test_data(self) -> Dataset:
        """The samples that are measured on.

        Raises:
            DataError: they cannot be read, or do not fit.
        """
        network, task = self.measure
        options = DataOptions(root=self.test.root, limit=self.tested)
        with located(file=self.test.where.file, line=self.test.where.line):
            found = open_dataset(self.test.path, network, options, preprocess=self.test.preprocess)
            return fit_data(network, found, task, asked=True).dataset

    @cached_property
    def train_data(self) -> Dataset:
        """The samples that train.

        Raises:
            DataError: they cannot be read, or do not fit.
        """
        options = DataOptions(root=self.train.root)
        with located(file=self.train.where.file, line=self.train.where.line):
            found = open_dataset(
                self.train.path, self.network, options, preprocess=self.train.preprocess
            )
            return fit_data(self.network, found, asked=True).dataset

    @property
    def calibration(self) -> Dataset:
        """Some of the training samples, evenly spread."""
        return some_of(self.train_data, self.network, CALIBRATED)

    def figure(self, network: Network, progress: Progress = silent) -> float:
        """Return the measured figure of a network that was made of this one, 0…1.

        Raises:
            DataError: the data cannot be read.
        """
        exposed, task = self._measured(network)
        return float(measured(exposed, self.test_data, task, progress=progress).compute().value)


def open_caffe_project(path: str | PathLike[str], needs: Sequence[str] = ()) -> CaffeProject:
    """Open a config of vai_p_caffe.

    Relative paths start from the working directory, or from the folder of the config.

    Args:
        path: the config, a text protobuf.
        needs: fields that the config must have: "rate", "solver".

    Raises:
        FormatError: the config or a file that it names is broken, or not there.
        UnsupportedError: the net has a layer or data that is not supported.
        DataError: the net has no such figure, or its data is not there.
        PlanError: a layer to exclude is not there.
    """
    config = read_pruner_config(Path(path))
    for name in needs:
        config.required(name)
    model = found_file(config, "model", config.model)
    weights = found_file(config, "weights", config.weights)
    train, test = (named_data(model, phase) for phase in ("TRAIN", "TEST"))
    network = load(model, weights, options=LoadOptions(input_shapes={test.top: test.shape}))
    project = CaffeProject(
        config=config, model=model, weights=weights, network=network, test=test, train=train,
        exclude=excluded_layers(network, config),
    )  # fmt: skip
    _ = project.measure  # says at once if there is no such figure
    with located(file=str(project.workspace)):
        try:
            project.workspace.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    return project


def found_file(config: PrunerConfig, field: str, name: str) -> Path:
    """Return the file that a field names.

    A snapshot is looked for with and without the folder of snapshots.

    Raises:
        FormatError: there is none.
    """
    path = Path(name)
    inside = path.parent / SNAPSHOTS / path.name
    outside = path.parent.parent / path.name if path.parent.name == SNAPSHOTS else None
    for each in (path, inside, outside):
        found = found_beside(str(each), [config.path.parent]) if each is not None else None
        if found is not None and found.is_file():
            return found
    raise FormatError(
        f"there is no file '{name}'",
        hint="relative paths start from the working directory, or from the folder of the config",
        where=config.where(field),
    )


def excluded_layers(network: Network, config: PrunerConfig) -> tuple[str, ...]:
    """Return the names of the layers that keep all channels.

    Raises:
        PlanError: a layer to exclude is not there.
    """
    return tuple(_excluded(network, top, config, line) for top, line in config.exclude)


def _excluded(network: Network, top: str, config: PrunerConfig, line: int) -> str:
    """Return the layer that makes a top.

    Several layers make a top in place; the first one with weights is meant.

    Raises:
        PlanError: there is none.
    """
    source = network.source
    assert isinstance(source, CaffeSource), "read from Caffe's files"
    named = [
        (own.layer.tops, info) for own, info in zip(source.layers, network.layers, strict=True)
    ]
    makers = [info for tops, info in named if top in tops]
    for info in sorted(makers, key=lambda info: not info.stored):
        return info.name
    raise PlanError(
        f"no layer makes '{top}'",
        hint=nearest_hint(
            top, {name for tops, _ in named for name in tops}, "`secateur inspect` lists the layers"
        ),
        where=config.where("layer_top", line),
    )
