"""What a pipeline names, opened: the model and its data, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...core.data import DataOptions, Dataset
from ...core.data.options import AUTOMATIC
from ...core.data.registry import Purpose
from ...core.data.stated import described
from ...core.evaluation.fitted import fit_data
from ...core.evaluation.task import TASKS, Task, find_task
from ...core.ir.network import Caution, Network, Preprocess
from ...core.statistics.normalizations import likely_preprocess
from ...formats.loading import load
from ..datasets import fit_preprocess, is_made, made_cautions, open_dataset, stands_apart
from ..preprocessing import with_preprocess
from .inputs import Inputs, files_of, plain_options
from .options import DataSource, Pipeline

__all__ = ["Opened"]


class Opened:
    """The model and the data of a pipeline.

    Args:
        pipeline: the pipeline.
        inputs: digests of files.
    """

    def __init__(self, pipeline: Pipeline, inputs: Inputs):
        self.pipeline = pipeline
        self.inputs = inputs
        self.notes: list[str] = []
        """What was found on opening: cautions are for the user's eyes."""
        self._raw: dict[str, Dataset] = {}
        self._fitted: dict[tuple[str, bool], Dataset] = {}

    @cached_property
    def network(self) -> Network:
        """The model as it was before the pipeline.

        Raises:
            FormatError, UnsupportedError: it cannot be read.
        """
        own = self.pipeline
        network = load(*own.model, companions=own.companions, options=own.loading)
        self.notes += network.notes
        plan = own.prune.plan if own.prune is not None else None
        if own.preprocess.preprocessing != AUTOMATIC:
            return with_preprocess(network, own.preprocess, plan=plan)
        source = own.measured_on or own.source("test")
        if source is None:
            return with_preprocess(network, own.preprocess)  # says that it needs data
        reading = self._as_prepared(source.options)
        asked = replace(reading, preprocessing=AUTOMATIC)
        found, _ = fit_preprocess(Path(source.path), network, asked, task=own.task)
        self.notes.append(found.preprocess.remark)
        return found

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the model."""
        return tuple(Path(path) for path in self.pipeline.model)

    def read(self, files: Sequence[Path], companions: Sequence[Path] = ()) -> Network:
        """Return a model that a step made.

        Raises:
            FormatError, UnsupportedError: it cannot be read.
        """
        network = load(*files, companions=companions, options=self.pipeline.loading)
        return replace(network, preprocess=self.network.preprocess)

    def source(self, role: str) -> DataSource | None:
        """Return the data for a purpose, as :meth:`Pipeline.source`; "measured" is for figures."""
        own = self.pipeline
        return own.measured_on if role == "measured" else own.source(role)

    def dataset(self, role: str, *, asked: bool = False) -> Dataset | None:
        """Return data that fits the model; None where there is none.

        Args:
            role: what it is for.
            asked: whether its labels are asked for.

        Raises:
            DataError: it cannot be read, or does not fit.
        """
        raw = self._opened(role)
        if raw is None:
            return None
        key = (f"{role} {self.source(role)}", asked)
        if key not in self._fitted:
            fitting = fit_data(self.network, raw, self.task_for(raw), asked=asked)
            self.notes += fitting.notes
            self._fitted[key] = fitting.dataset
        return self._fitted[key]

    def opened_for(self, network: Network, role: str) -> Dataset | None:
        """Return data opened for another network; None where there is none.

        Raises:
            DataError: it cannot be read.
        """
        source = self.source(role)
        return None if source is None else self._open(role, source, network)

    def task_for(self, dataset: Dataset | None) -> str | None:
        """Return the task that the user names, where data has what it needs.

        Calibration often has no labels, whatever the network is measured by.

        Raises:
            DataError: there is no such task.
        """
        name = self.pipeline.task
        if name is None:
            return None
        needs = TASKS.find(name).target_kind
        return name if not needs or (dataset is not None and dataset.labelled) else None

    def found_task(self, dataset: Dataset) -> Task:
        """Return what the model is measured by on some data.

        Raises:
            DataError: the task does not fit.
        """
        return find_task(self.network, dataset, self.task_for(dataset))

    def model_inputs(self) -> dict[str, Any]:
        """Return what the model is, as digests and plain values.

        Raises:
            DataError: a file cannot be read.
        """
        own = self.pipeline
        folder = self.paths[0].parent
        return {
            "model": self.inputs.of_files(self.paths, folder),
            "companions": self.inputs.of_files(map(Path, own.companions), folder),
            "loading": plain_options(own.loading),
            "preprocess": [plain_options(own.preprocess), described(self.network.preprocess)],
            "beside": self.inputs.of_files(self._beside(own.preprocess), folder),
        }

    def data_inputs(self, role: str) -> dict[str, Any] | None:
        """Return what data is, as digests and plain values; None where there is none.

        Raises:
            DataError: it cannot be read.
        """
        source, dataset = self.source(role), self._opened(role)
        if source is None or dataset is None:
            return None
        path = Path(source.path)
        files = (*files_of(path, dataset), *self._beside(source.options))
        return {
            "name": str(path.name),
            "samples": dataset.samples,
            "classes": list(getattr(dataset, "classes", ())),
            "files": self.inputs.of_files(files, path.parent),
            "options": plain_options(source.options),
        }

    def told(self) -> Iterator[str]:
        """Yield what is to be told of files and data, once each; some are cautions."""
        yield from dict.fromkeys(self.notes)
        yield from self._flattered()

    def _flattered(self) -> Iterator[Caution]:
        """Yield a caution where the final figures are of samples that were used before."""
        own, test = self.pipeline, self.source("test")
        if own.valid is None or test is None:
            return
        uses = {"chooses channels": ("prune", "calibration"), "trains": ("finetune", "training")}
        for what, (step, role) in uses.items():
            source = self.source(role)
            same = source is not None and Path(source.path).resolve() == Path(test.path).resolve()
            if getattr(own, step) is not None and same and not self._apart(test):
                yield Caution(f"{test.path} also {what}: the figures of valid flatter (data: test)")
                return

    def _opened(self, role: str) -> Dataset | None:
        source = self.source(role)
        if source is None:
            return None
        key = f"{role} {source}"
        if key not in self._raw:
            self._raw[key] = self._open(role, source, self.network)
        return self._raw[key]

    def _open(self, role: str, source: DataSource, network: Network) -> Dataset:
        """Open data for a network, which has the preprocessing that counts already."""
        purpose: Purpose = "calibrate" if role in ("calibration", "training") else "measure"
        if role == "measured" and "validation" not in self.pipeline.data:
            purpose = "measure" if self._apart(source) else "calibrate"
        options, preprocess = self._as_prepared(source.options), network.preprocess
        if is_made(Path(source.path)):
            self.notes += made_cautions(source.path)
            preprocess = self._likely_preprocess or preprocess
        return open_dataset(
            Path(source.path), network, options, preprocess=preprocess, purpose=purpose
        )

    @cached_property
    def _likely_preprocess(self) -> Preprocess | None:
        """How made images become inputs; None where nobody tells.

        Raises:
            DataError: the network takes no images.
        """
        return likely_preprocess(self.network)

    def _apart(self, source: DataSource) -> bool:
        """Whether data holds images to measure on beside those to calibrate on."""
        return stands_apart(Path(source.path), self.network, self._as_prepared(source.options))

    @staticmethod
    def _as_prepared(options: DataOptions) -> DataOptions:
        """Return options of data for a network that has the preprocessing that they ask for."""
        return replace(options, preprocessing=None)

    @staticmethod
    def _beside(options: Any) -> list[Path]:
        """Return the files that options of data name."""
        return [Path(path) for path in (options.mean_file, options.names) if path is not None]
