"""What one network or several find in every sample of some data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..data.arrays import AnyData, as_dataset
from ..data.base import Batch, Dataset
from ..engine.session import Arrays
from ..errors import DataError
from ..evaluation.runner import computed
from ..ir.network import Network
from ..options import options_of
from ..progress import Progress, silent
from .findings import Finding, Viewer, viewer_of
from .images import Picture, shown
from .options import PredictOptions

__all__ = ["Prediction", "predict", "viewers_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What networks find in one sample.

    Args:
        name: of its file without suffix, or "sample" and its number.
        picture: H×W×3, red first.
        findings: of each network.
    """

    name: str
    picture: Picture
    findings: tuple[Finding, ...]

    @property
    def disagreement(self) -> float:
        """How far the second network is from the first one; 0 where there is one."""
        first, *others = self.findings
        return max((first.disagreement(other) for other in others), default=0.0)

    @property
    def differs(self) -> bool:
        """Whether the second network tells people something else than the first one."""
        first, *others = self.findings
        return any(first.differs(other) for other in others)


def viewers_of(networks: Sequence[Network], options: PredictOptions) -> Sequence[Viewer]:
    """Return what makes findings of the outputs of each network.

    Raises:
        DataError: outputs of a network cannot be shown, or networks find different things.
    """
    found = []
    for network in networks:
        viewer = viewer_of(network, score=options.score, suppress=options.suppress, top=options.top)
        if viewer is None:
            raise DataError(
                f"network '{network.name}' finds nothing that can be shown: its outputs are "
                "neither boxes nor classes nor maps of classes",
                hint="secateur compare tells how far the outputs of two such models are apart",
            )
        found.append(viewer)
    for network, viewer in zip(networks, found, strict=True):
        first = found[0]
        if viewer.kind != first.kind:
            raise DataError(
                f"'{networks[0].name}' finds {first.plural}, but '{network.name}' {viewer.plural}"
            )
        if viewer.classes != first.classes:
            raise DataError(
                f"'{networks[0].name}' tells {first.classes} classes apart, but '{network.name}' "
                f"{viewer.classes}"
            )
    return found


def predict(
    networks: Sequence[Network],
    datasets: Sequence[AnyData],
    options: PredictOptions | None = None,
    *,
    progress: Progress = silent,
    **settings: Any,
) -> Iterator[Prediction]:
    """Yield what networks find in every sample, in the order of the data.

    Args:
        networks: detectors, classifiers, or networks that make maps of classes; all of one kind.
        datasets: the same data, opened for each of the networks, or arrays. Labels are not needed.
        options: what is told.
        progress: told about every batch.
        settings: fields of :class:`PredictOptions`, instead of `options`.

    Raises:
        DataError: outputs of a network cannot be shown, networks find different things, or the data
            does not fit.
    """
    options = options_of(PredictOptions, options, settings)
    viewers = viewers_of(networks, options)
    opened = [as_dataset(data, one) for data, one in zip(datasets, networks, strict=True)]
    label = "looking"
    streams = [
        _found(network, dataset, viewer, progress=progress if place == 0 else silent, label=label)
        for place, (network, dataset, viewer) in enumerate(
            zip(networks, opened, viewers, strict=True)
        )
    ]
    for number, seen in enumerate(zip(*streams, strict=True)):
        batch, place, _ = seen[0]
        name, picture = shown(opened[0], batch, place, networks[0].preprocess, number)
        findings = tuple(finding for *_, finding in seen)
        yield Prediction(name=name, picture=picture, findings=findings)


def _found(
    network: Network, dataset: Dataset, viewer: Viewer, *, progress: Progress, label: str
) -> Iterator[tuple[Batch, int, Finding]]:
    """Yield each sample, as its place in a batch, with what a network finds in it."""
    make = partial(_with_batch, viewer)
    for batch, found in computed(network, dataset, label, make, progress=progress):
        for place, finding in enumerate(found):
            yield batch, place, finding


def _with_batch(viewer: Viewer, batch: Batch, outputs: Arrays) -> tuple[Batch, Sequence[Finding]]:
    return batch, viewer.findings(outputs, batch)
